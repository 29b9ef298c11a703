# buildah: /in: a mount's target that was made for it is taken away again, as with BuildKit
# as: binds_and_caches_older
FROM busybox AS other
RUN mkdir /o && echo other > /o/f
FROM busybox
RUN --mount=type=bind,source=a.txt,target=/in/a.txt cat /in/a.txt > /a
RUN --mount=from=other,source=/o,target=/from cat /from/f > /f
RUN --mount=type=bind,source=dir,target=/rw,rw touch /rw/new && ls /rw/new > /seen
RUN --mount=type=tmpfs,target=/t echo gone > /t/x
RUN --mount=type=cache,target=/c,id=corpus echo kept > /c/x
RUN --mount=type=cache,id=corpus,target=/d cat /d/x > /x
