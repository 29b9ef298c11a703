FROM busybox
RUN mkdir -p /real && ln -s real /link
COPY dir/sub /linked/
RUN rm /link
COPY a.txt /link/
ADD --chown=5:6 a.txt /new/deep/
