# differs: history: a health check stands as it is written, Docker prints Go's structure
FROM busybox
HEALTHCHECK NONE
CMD ["old"]
ENTRYPOINT ["/bin/sh", "-c", "echo \"a\\b\" é"]
CMD ["a", "b c"]
ONBUILD RUN echo built > /on
ONBUILD COPY a.txt /onbuild/
