# buildah: /srv*: it makes WORKDIRs in no layer
# buildah: config.Cmd: it runs no command by SHELL
# buildah: config.Entrypoint: it runs no command by SHELL
# buildah: config.Env: a variable that is set again keeps its place, as with Docker
# buildah: config.ExposedPorts: ports are one each, as with Docker
# differs: history: a health check stands as it is written, Docker prints Go's structure
# differs: /srv*: WORKDIR makes directories as the USER's, as BuildKit does
FROM busybox
ARG UNSET
ARG GIVEN=default
ARG LATER=${GIVEN}-later
ENV ONE=1 TWO="two words" THREE=three\ words FOUR='$ONE' FIVE="$ONE$TWO" SIX=$UNSET.$GIVEN.$LATER
ENV PORT=9000
ENV OLD form of  "it"
ENV PATH=/opt/bin:$PATH
ENV ONE=again TWO=
LABEL plain=value "quoted key"="quoted $ONE" multi="a\
b" single='$ONE'
LABEL old form
EXPOSE 80 53/udp 8000-8002 $PORT
EXPOSE 443/TCP
VOLUME /data /more
VOLUME ["/json", "/two words"]
USER www-data:users
USER 1000
WORKDIR /srv
WORKDIR relative/$GIVEN
WORKDIR ../up
STOPSIGNAL SIGINT
HEALTHCHECK --interval=5s --timeout=1m30s --start-period=10s --retries=3 CMD wget -q localhost || exit 1
SHELL ["/bin/sh", "-ec"]
CMD echo "$HOME" 'x'
ENTRYPOINT echo hello
