FROM busybox
COPY ignored /i
COPY . /all
