FROM busybox
ENV INNER=env
RUN echo "given outer-given inner" > /one; echo "inner linux []" > /two; echo env > /three
