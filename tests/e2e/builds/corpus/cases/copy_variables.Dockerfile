FROM busybox
ARG FILE=a
ENV TARGET=/to OWNER=7:8
COPY ${FILE}.txt $TARGET/
COPY --chown=$OWNER b.txt ${TARGET:-/no}/${MISSING:-b}
COPY ${FILE:+b}.txt "$TARGET/quoted"
