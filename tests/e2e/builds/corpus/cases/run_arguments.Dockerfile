# build: --build-arg GIVEN=given --build-arg HTTP_PROXY=http://proxy
ARG OUTER=outer
FROM busybox
ARG OUTER
ARG GIVEN=default
ARG EMPTY=
ARG UNSET
ENV FROM_ARG=$GIVEN
RUN env | grep -v HOSTNAME | sort > /env
ARG FROM_ARG=loses
RUN echo $FROM_ARG $OUTER > /more
