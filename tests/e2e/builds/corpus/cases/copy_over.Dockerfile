# both: */deeper.txt: files get their mode after their owner, so that a set-user-id bit stays, as with BuildKit
FROM busybox
RUN mkdir -p /x/sub && echo old > /x/a.txt && echo kept > /x/kept && chmod 700 /x && chown 5:6 /x
COPY a.txt /x/
COPY dir /x
