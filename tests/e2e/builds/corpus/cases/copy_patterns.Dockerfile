FROM busybox
COPY *.txt /txt/
COPY ?.txt /one/
COPY [ab].txt /set/
COPY dir/*/deep* /deep/
COPY d*r /dirs/
