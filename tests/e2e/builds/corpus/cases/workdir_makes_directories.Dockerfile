FROM busybox
USER www-data
WORKDIR /made/by/workdir
WORKDIR /etc
