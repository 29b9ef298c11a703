# buildah: config.ExposedPorts: ports are one each, as with Docker
FROM busybox
ARG P=70
ENV R=71-72 PROTO=udp
EXPOSE 80/tcp 80 80/udp 90-92/udp $P ${R}/${PROTO} 99/sctp
EXPOSE 80/UDP
EXPOSE "81"
