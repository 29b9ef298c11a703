# buildah: refused: it knows no --parents
# both: */.dockerignore: the command adds a random name to it
# both: */deeper.txt: files get their mode after their owner, so that a set-user-id bit stays, as with BuildKit
# as: copy_flags_older
FROM busybox
COPY --chmod=0511 a.txt /m/a
COPY --chmod=700 dir/sub /sub
COPY --exclude=*.txt --exclude=dir/sub . /some
COPY --parents dir/sub/deep.txt dir/file /p/
COPY --parents ./dir/./sub/*.txt /pivot/
COPY --link a.txt /linked/a
