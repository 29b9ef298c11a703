# buildah: /added/*: patterns begin at the source, as with BuildKit
# buildah: /dirs/sub*: patterns begin at the source, as with BuildKit
# buildah: /top/.hidden: patterns begin at the source, as with BuildKit
# as: exclude_older
# both: */deeper.txt: files get their mode after their owner, so that a set-user-id bit stays, as with BuildKit
FROM busybox
COPY --exclude=*.txt --exclude=.hidden dir /top
COPY --exclude=**/*.txt dir /deep
COPY --exclude=sub dir /dirs
ADD --exclude=other dir /added
