# buildah: /platform: an ARG's own default counts for more than what is always there, as with BuildKit
# as: platforms_older
ARG BASE=busybox
FROM --platform=$TARGETPLATFORM ${BASE}:latest AS one
ARG TARGETPLATFORM BUILDPLATFORM
ARG TARGETOS=x
RUN echo $TARGETPLATFORM $BUILDPLATFORM $TARGETOS > /platform
FROM --platform=linux/amd64 busybox
COPY --from=one /platform /
