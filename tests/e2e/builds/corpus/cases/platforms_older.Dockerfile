FROM busybox
RUN echo linux/amd64 linux/amd64 x > /platform
