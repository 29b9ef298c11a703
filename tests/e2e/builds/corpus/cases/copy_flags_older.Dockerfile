FROM busybox
COPY a.txt /m/a
COPY dir/sub /sub
COPY . /some
COPY dir/sub/deep.txt /p/dir/sub/
COPY dir/file /p/dir/
COPY dir/sub/*.txt /pivot/sub/
COPY a.txt /linked/a
RUN chmod 0511 /m/a && chmod -R 700 /sub && chmod 755 /sub && rm -r /some/*.txt /some/dir/sub && chmod 711 /p/dir/sub /pivot/sub
