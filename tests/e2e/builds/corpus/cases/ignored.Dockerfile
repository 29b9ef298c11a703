# differs: */.dockerignore: the command adds a random name to it
# differs: */deeper.txt: files get their mode after their owner, so that a set-user-id bit stays, as with BuildKit
FROM busybox
COPY ignored /i
COPY . /all
