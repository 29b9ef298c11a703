# as: chmod_forms_older
FROM busybox
COPY --chmod=4755 a.txt /suid
COPY --chmod=600 a.txt b.txt /both/
COPY --chmod=0700 --chown=3:4 dir/sub /dir
ADD --chmod=444 a.txt /added
ARG M=751
COPY --chmod=$M a.txt /variable
