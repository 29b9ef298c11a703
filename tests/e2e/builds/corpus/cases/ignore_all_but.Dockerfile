# ignore: *
# ignore: !dir/sub
# ignore: !ignored/**/no
# ignore: !a.txt
# ignore: links/
FROM busybox
COPY . /all
