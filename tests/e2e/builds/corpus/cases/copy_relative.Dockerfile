# both: */deeper.txt: files get their mode after their owner, so that a set-user-id bit stays, as with BuildKit
FROM busybox
WORKDIR /work
COPY a.txt .
COPY b.txt sub/
COPY dir ../outside
WORKDIR inner
COPY a.txt ./
COPY a.txt file
