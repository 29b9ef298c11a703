# differs: /new: directories that are made have the owner of --chown, as with BuildKit
# both: */deeper.txt: files get their mode after their owner, so that a set-user-id bit stays, as with BuildKit
FROM busybox
COPY --chown=5 a.txt /number
COPY --chown=www-data:7 a.txt /mixed
COPY --chown=0:users a.txt /group
COPY --chown=9:users dir /new/dir
ADD --chown=www-data a.txt /new/made/
ADD --chown=4:5 a.txt b.txt /several/
