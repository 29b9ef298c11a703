# as: link_older
# buildah: refused: it knows no --link
FROM busybox
RUN mkdir -p /real && ln -s real /link
COPY --link dir/sub /linked/
COPY --link a.txt /link/
ADD --link --chown=5:6 a.txt /new/deep/
