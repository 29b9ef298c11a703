# both: */.dockerignore: the command adds a random name to it
# both: */deeper.txt: files get their mode after their owner, so that a set-user-id bit stays, as with BuildKit
FROM busybox
COPY dir /d
COPY dir /new/deep/
COPY dir /etc
COPY dir/sub dir/other /merged/
COPY --chown=3:4 dir /owned
COPY dir/sub /mode
COPY . /all
