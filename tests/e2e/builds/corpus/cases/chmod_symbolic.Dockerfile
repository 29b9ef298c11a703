# as: chmod_symbolic_older
# buildah: refused: it takes octal digits alone
FROM busybox
COPY --chmod=go-r a.txt /minus
COPY --chmod=u=rwx,g=rx,o= b.txt /equals
COPY --chmod=a+X dir/sub/ dir/file run.sh /conditional/
COPY --chmod=+x a.txt /plus
ADD --chmod=u+s,g=u,o=g-r run.sh /copied
