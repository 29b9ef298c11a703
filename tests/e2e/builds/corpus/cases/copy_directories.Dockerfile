FROM busybox
COPY dir /d
COPY dir /new/deep/
COPY dir /etc
COPY dir/sub dir/other /merged/
COPY --chown=3:4 dir /owned
COPY . /all
