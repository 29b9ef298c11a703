# buildah: /a.txt: a link that is a file's target is followed, as with Docker
# buildah: /real/file: a link that is a file's target is followed, as with Docker
# both: */deeper.txt: files get their mode after their owner, so that a set-user-id bit stays, as with BuildKit
FROM busybox
COPY links/to_directory/in /through
COPY links/to_directory/ /whole
RUN mkdir -p /real/sub && ln -s real /relative && ln -s /real/sub /absolute && ln -s ../a.txt /real/file && echo old > /a.txt
COPY a.txt /relative/
COPY a.txt /absolute/deep/
COPY b.txt /real/file
COPY dir /relative/sub
