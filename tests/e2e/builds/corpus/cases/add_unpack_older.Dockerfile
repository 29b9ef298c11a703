FROM busybox
COPY zipped.tar.gz /kept
ADD plain.tar /unpacked
