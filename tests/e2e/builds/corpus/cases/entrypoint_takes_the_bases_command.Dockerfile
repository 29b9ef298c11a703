FROM busybox AS base
CMD ["of", "the", "base"]
FROM base
ENTRYPOINT ["mine"]
