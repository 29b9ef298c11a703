FROM busybox
ENTRYPOINT []
CMD []
HEALTHCHECK CMD ["true"]
HEALTHCHECK --interval=1s CMD true
