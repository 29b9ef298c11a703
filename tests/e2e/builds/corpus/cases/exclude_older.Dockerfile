FROM busybox
COPY dir /top
COPY dir /deep
COPY dir /dirs
ADD dir /added
RUN rm -r /top/.hidden /deep/sub/*.txt /deep/other/*.txt /dirs/sub /added/other
