# ignore: # a comment
# ignore: *.txt
# ignore: !b.txt
# ignore: dir/*
# ignore: !dir/sub
# ignore: **/deep.txt
# ignore:  links 
# ignore: /ignored/no
# ignore: special/a?r*
# ignore: **/*.tar*
# ignore: .dockerignore
# ignore: !**/xz.tar.xz
FROM busybox
COPY . /all
