# buildah: refused: it fails with the directory that it stands in
# as: add_git_older
FROM busybox
ADD http://127.0.0.1:8099/repository.git /head
ADD http://127.0.0.1:8099/repository.git#v1 /tag/
ADD --chown=3:4 http://127.0.0.1:8099/repository.git#main:sub /below
