# buildah: refused: it knows no --unpack
# as: add_unpack_older
FROM busybox
ADD --unpack=false zipped.tar.gz /kept
ADD --unpack=true plain.tar /unpacked
