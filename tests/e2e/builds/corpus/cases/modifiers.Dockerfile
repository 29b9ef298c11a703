# buildah: /v: its %% takes the shortest end
# buildah: config.Env: its %% takes the shortest end
# as: modifiers_older
FROM busybox
ARG V=1.2.3-rc/x
ENV A=${V%%-*} B=${V##*/} C=${V/./_} D=${V//./_} E=${V#1.} F=${V%/x} G=${NONE:-d} H=${V:+set}
RUN echo "$A $B $C $D $E $F $G $H" > /v
