# as: modifiers_of_words_older
# buildah: refused: it knows none without a colon
FROM busybox
ENV EMPTY=
ENV C=${NONE-word} D=${EMPTY-word} H=${NONE+word}. I=${EMPTY+word}. L=${EMPTY?needed}.
RUN test "$C $D $H $I $L" = "word  . word. ." && echo ok > /ok
