FROM busybox
ARG WHO=www-data
RUN mkdir -m 777 /open
USER $WHO
COPY a.txt /open/copied
ADD a.txt /open/added
COPY --chown=$WHO:${WHO} a.txt /open/owned
RUN touch /open/made && id -un > /open/who
USER 12:34
RUN id -u > /open/number; id -g >> /open/number
USER 12
RUN id > /open/alone
