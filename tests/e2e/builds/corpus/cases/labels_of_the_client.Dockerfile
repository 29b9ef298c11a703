# differs: history: labels of the client are no step, as with BuildKit
# build: --label of=client --label plain=wins
FROM busybox
LABEL plain=file other=file
