# both: config.Cmd: what has words behind its array is no array but the shell's, as with BuildKit
# differs: history: what has words behind its array is no array but the shell's, as with BuildKit
FROM busybox
CMD ["a", "b"] more
