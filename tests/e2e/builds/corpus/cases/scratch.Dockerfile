# buildah: config.WorkingDir: it sets one for an image of nothing
FROM scratch
COPY a.txt /
ENV A=1
CMD ["/a.txt"]
