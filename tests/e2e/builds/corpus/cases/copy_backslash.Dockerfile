# buildah: refused: it takes the backslash for an escape of the pattern's
FROM busybox
COPY special/back\\slash /back/
