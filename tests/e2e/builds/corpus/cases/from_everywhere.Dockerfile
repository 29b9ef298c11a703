FROM busybox AS one
RUN mkdir /d && echo one > /d/one && chmod 750 /d
FROM busybox
COPY --from=one /d /name
COPY --from=0 /d/one /number
COPY --from=busybox /etc/group /image
COPY --from=one --chown=3:4 /d/one /new/owned
COPY --from=one d/o* /pattern/
