# buildah: refused: a bind of the context shows what is ignored
# as: mounts_older
FROM busybox AS other
RUN mkdir /o && echo other > /o/f
FROM busybox
RUN --mount=type=bind,target=/ctx cp /ctx/a.txt /a && cat /ctx/ignored/yes > /yes && ! test -e /ctx/ignored/no
RUN --mount=from=other,source=/o,target=/from cat /from/f > /f
RUN --mount=type=bind,target=/rw,rw touch /rw/new && ls /rw/new > /seen
RUN --mount=type=tmpfs,target=/t echo gone > /t/x
RUN --mount=type=cache,target=/c echo kept > /c/x
RUN --mount=type=cache,target=/c cat /c/x > /x
RUN --mount=type=secret,id=none,target=/s test ! -e /s && echo none > /secret
RUN --network=none ip link | grep -c '^[0-9]' > /links
