FROM busybox
COPY old /old
ADD old/file /file
