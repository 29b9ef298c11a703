# buildah: /w: a USER behind it does not get the directory, as with Docker
FROM busybox
RUN echo shell > /shell
RUN ["/bin/sh", "-c", "echo exec > /exec"]
RUN echo $HOME ~ "$0" > /facts; id -u >> /facts; pwd >> /facts
WORKDIR /w
USER www-data
RUN id > /tmp/id; pwd >> /tmp/id; touch /tmp/mine
USER root
SHELL ["/bin/sh", "-xc"]
RUN echo again > /again
RUN rm -rf /home /shell && mkdir -m 1777 /sticky && ln /exec /hard && ln -s exec /soft && mkfifo /pipe && chmod 4755 /again
RUN chown -R 10:20 /etc/group && echo more >> /etc/passwd
