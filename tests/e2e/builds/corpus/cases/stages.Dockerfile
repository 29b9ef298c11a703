# buildah: refused: it finds no stage whose name is in other case
# build: --target last
ARG BASE=busybox
FROM $BASE AS one
RUN echo one > /one
ENV IN=one
FROM ${BASE}:latest AS Two
COPY --from=one /one /from/name
COPY --from=0 /one /from/number
COPY --from=busybox /etc/passwd /from/image
RUN echo two > /two
FROM one AS last
RUN echo $IN > /last
COPY --from=two /from /from
FROM busybox AS unneeded
RUN false
