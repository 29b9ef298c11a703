FROM busybox
COPY a.txt /suid
COPY a.txt b.txt /both/
COPY --chown=3:4 dir/sub /dir
ADD a.txt /added
COPY a.txt /variable
RUN chmod 4755 /suid && chmod 600 /both/* && chmod 700 /dir/* && chmod 444 /added && chmod 751 /variable
