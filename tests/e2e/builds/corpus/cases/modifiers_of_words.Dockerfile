# as: modifiers_of_words_older
FROM busybox
ARG V=foobarfoobar.tar.gz
ENV EMPTY=
ENV A=${NONE:-word} B=${EMPTY:-word} E=${V:-word}
ENV F=${NONE:+word}. G=${EMPTY:+word}. J=${V:+word}.
ENV K=${V:?needed} M=${NONE:-${V}} N=${NONE:-"two words"} O=${NONE:-$EMPTY$V}
ENV P=${V#foo} Q=${V##*foo} R=${V%.*} S=${V%%.*} T=${V#?oo} U=${V%z}
ENV W=${V/foo/x} X=${V//foo/x} Y=${V/o*r/x} Z=${V//o/} AA=${V/none/x} BB=${V//./-} CC=${V//a?/X}
ENV DD=$V$EMPTY${NONE}x EE=\$V FF=\${V} GG='${V}' HH="${V:+"quoted"}"
RUN echo ok > /ok
