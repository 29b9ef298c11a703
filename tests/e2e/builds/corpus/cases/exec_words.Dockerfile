# buildah: config.Entrypoint: it runs no command by SHELL
FROM busybox
ENV X=x
RUN ["/bin/sh", "-c", "echo $X '$X' \"two words\" > /shell"]
RUN ["touch", "/$X", "/a b"]
SHELL ["/bin/sh", "-e", "-c"]
ENTRYPOINT exec top -b
CMD ["x", "y"]
ENTRYPOINT [ "one", 'two' ]
