# both: */deeper.txt: files get their mode after their owner, so that a set-user-id bit stays, as with BuildKit
FROM busybox
COPY dir/ /slash/
COPY dir/. /dot
COPY ./dir /led
COPY /dir/sub/ /rooted
COPY a.txt /new/deep/
COPY a.txt /new/deep/name
COPY ["a.txt", "b.txt", "/json/"]
COPY dir/sub/../sub/deep.txt /up/
COPY a.txt //double//slash
COPY a.txt /etc/../dotted/./x
