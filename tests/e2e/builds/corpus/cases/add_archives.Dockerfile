# differs: /chowned: the directory that is made for an archive is its --chown's, as with BuildKit
# both: */deeper.txt: files get their mode after their owner, so that a set-user-id bit stays, as with BuildKit
FROM busybox
ADD plain.tar /plain
ADD zipped.tar.gz /zipped/
ADD xz.tar.xz /xz
ADD bz2.tar.bz2 /bz2
ADD not-a-tar.tar.gz /kept/
ADD a.txt /added
ADD dir /dir
ADD --chown=9:9 plain.tar /chowned
COPY plain.tar /copied.tar
