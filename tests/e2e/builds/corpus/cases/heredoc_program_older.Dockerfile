FROM busybox
ENV A=env
RUN echo env > /program
