FROM busybox
ADD plain.tar /zst
