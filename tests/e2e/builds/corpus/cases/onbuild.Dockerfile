FROM busybox AS base
ENV A=base
ONBUILD ENV B=$A
ONBUILD COPY a.txt /onbuild/
ONBUILD RUN echo $B > /ran
FROM base
ENV C=$B
