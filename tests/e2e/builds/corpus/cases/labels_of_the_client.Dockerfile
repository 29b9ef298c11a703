# build: --label of=client --label plain=wins
FROM busybox
LABEL plain=file other=file
