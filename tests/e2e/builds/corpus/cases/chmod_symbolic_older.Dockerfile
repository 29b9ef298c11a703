FROM busybox
COPY a.txt /minus
COPY b.txt /equals
COPY dir/sub/ dir/file run.sh /conditional/
COPY a.txt /plus
ADD run.sh /copied
RUN chmod go-r /minus && chmod u=rwx,g=rx,o= /equals && chmod a+X /conditional/* && chmod +x /plus && chmod u+s,g=u /copied && chmod o=g /copied && chmod o-r /copied
