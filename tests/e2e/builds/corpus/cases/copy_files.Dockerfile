FROM busybox
COPY a.txt /one
COPY a.txt b.txt /two/
COPY a.txt /three/
COPY ["with space.txt", "/four/new name"]
COPY a.txt /etc
COPY --chown=1:2 b.txt /owned/b
COPY --chown=www-data:users b.txt /named/b
COPY --chown=www-data b.txt /user/b
COPY run.sh /run.sh
COPY a.txt /two/b.txt
