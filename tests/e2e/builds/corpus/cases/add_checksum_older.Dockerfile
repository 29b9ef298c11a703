FROM busybox
ADD http://127.0.0.1:8099/file.txt /here/
ADD http://127.0.0.1:8099/file.txt /mode
RUN chmod 640 /mode
