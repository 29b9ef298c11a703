# differs: /v/after: what RUN writes to a volume stays in the layer, as with BuildKit
FROM busybox
RUN mkdir /v && echo before > /v/before
VOLUME /v
RUN echo after > /v/after; echo beside > /beside
COPY a.txt /v/
