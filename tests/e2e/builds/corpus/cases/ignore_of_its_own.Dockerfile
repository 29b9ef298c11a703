# buildah: /all/dir/old.bak: the docker command leaves out by the context's .dockerignore what it sends
# both: */deeper.txt: files get their mode after their owner, so that a set-user-id bit stays, as with BuildKit
# own: *
# own: !a.txt
# own: !dir
# own: dir/sub
# differs: /*: Docker's classic builder takes the context's alone
FROM busybox
COPY . /all
