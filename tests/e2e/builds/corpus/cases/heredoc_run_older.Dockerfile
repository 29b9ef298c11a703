FROM busybox
ENV A=env
RUN echo env > /a; echo shell > /b; echo env > /one; echo '$A' > /two
