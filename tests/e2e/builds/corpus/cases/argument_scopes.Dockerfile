# buildah: /two: a stage has the ARGs of the stage that it is built on, as with BuildKit
# as: argument_scopes_older
# build: --build-arg GIVEN=given
ARG GIVEN=no
ARG OUTER=outer-${GIVEN}
FROM busybox AS base
ARG GIVEN OUTER INNER=inner
RUN echo "$GIVEN $OUTER $INNER" > /one
FROM base
ARG TARGETOS
RUN echo "$INNER $TARGETOS [$TARGETARCH]" > /two
ENV INNER=env
ARG INNER=later
RUN echo "$INNER" > /three
