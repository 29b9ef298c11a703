FROM busybox
ADD http://127.0.0.1:8099/file.txt /here/
ADD http://127.0.0.1:8099/file.txt /named
ADD --chown=7:8 http://127.0.0.1:8099/plain.tar /owned/
ENV NAME=file.txt
ADD http://127.0.0.1:8099/$NAME a.txt /two/
