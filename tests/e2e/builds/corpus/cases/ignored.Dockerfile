# both: */.dockerignore: the command adds a random name to it
# both: */deeper.txt: files get their mode after their owner, so that a set-user-id bit stays, as with BuildKit
FROM busybox
COPY ignored /i
COPY . /all
