FROM busybox
WORKDIR /work
COPY a.txt .
COPY b.txt sub/
COPY dir ../outside
WORKDIR inner
COPY a.txt ./
COPY a.txt file
