# build: --target Middle
FROM busybox AS first
ENV A=first
RUN echo first > /first
FROM first AS Middle
ENV B=$A-middle
COPY --from=first /first /copied
FROM busybox
RUN false
