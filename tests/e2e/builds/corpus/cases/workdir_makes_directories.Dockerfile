# buildah: /made*: it makes WORKDIRs in no layer
# differs: /made*: WORKDIR makes directories as the USER's, as BuildKit does
FROM busybox
USER www-data
WORKDIR /made/by/workdir
WORKDIR /etc
