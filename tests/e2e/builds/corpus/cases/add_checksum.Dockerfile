# as: add_checksum_older
FROM busybox
ADD --checksum=sha256:c5acc4ae7d85cda11df11e6bc0c06ab55bffbd2b3db121d0a9e3ebb98bd98cac http://127.0.0.1:8099/file.txt /here/
ADD --chmod=640 http://127.0.0.1:8099/file.txt /mode
