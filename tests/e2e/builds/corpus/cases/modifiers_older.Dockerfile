FROM busybox
ENV A=1.2.3 B=x C=1_2.3-rc/x D=1_2_3-rc/x E=2.3-rc/x F=1.2.3-rc G=d H=set
RUN echo "$A $B $C $D $E $F $G $H" > /v
