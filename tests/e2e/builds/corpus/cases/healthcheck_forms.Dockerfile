# differs: history: a health check stands as it is written, Docker prints Go's structure
FROM busybox AS none
HEALTHCHECK CMD true
FROM none
HEALTHCHECK --timeout=2m --start-period=30s CMD ["wget", "-q", "localhost"]
