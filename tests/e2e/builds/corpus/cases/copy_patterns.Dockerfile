# both: */deeper.txt: files get their mode after their owner, so that a set-user-id bit stays, as with BuildKit
FROM busybox
COPY *.txt /txt/
COPY ?.txt /one/
COPY [ab].txt /set/
COPY dir/*/deep* /deep/
COPY d*r /dirs/
