# as: add_zstd_older
FROM busybox
ADD zst.tar.zst /zst
