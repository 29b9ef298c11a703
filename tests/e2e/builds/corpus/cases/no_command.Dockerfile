# differs: history: a health check stands as it is written, Docker prints Go's structure
FROM busybox
ENTRYPOINT []
CMD []
HEALTHCHECK CMD ["true"]
HEALTHCHECK --interval=1s CMD true
