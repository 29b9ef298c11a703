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
