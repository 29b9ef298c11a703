# differs: history: a health check stands as it is written, Docker prints Go's structure
FROM busybox
ENV X=x
ENV A='single $X "double"' B="double $X 'single' \"escaped\" \$X \\ \n" C=bare\ blank\$X\\ D="a"'b'c\"d E= F="" G=é
ENV H=a=b=c I="$X"'$X'$X${X} J=$X-$Y K=${X}y
ENV OLD   two   blanks "and quotes" $X \
  more
LABEL "a b"=c d.e-f="g h" i='j "k"' l=m\ n o="line\
 two" p=$X q='$X' r=""
LABEL s "t u"
CMD ["a", "b \"c\"", "$X", "\u00e9", "d\\e"]
HEALTHCHECK --interval=1h0.5s --timeout=1500ms --retries=2 CMD ["a", "$X"]
