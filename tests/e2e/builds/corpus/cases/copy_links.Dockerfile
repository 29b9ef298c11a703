# both: */deeper.txt: files get their mode after their owner, so that a set-user-id bit stays, as with BuildKit
FROM busybox
COPY links /l
COPY links/to_file /file
COPY links/to_directory /directory
RUN ln -s /srv/real /link && mkdir -p /srv/real
COPY a.txt /link/
COPY dir /link
