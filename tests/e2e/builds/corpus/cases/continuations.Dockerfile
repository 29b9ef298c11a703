# escape=`
# buildah: refused: it ignores the escape of quotes
FROM busybox
RUN echo one `
    # a comment between

  && echo "two `
  three" > /x; `
  echo 'a\b' > /y
ENV A=a`$b B="c`"d" `
    C=e
cOpY a.txt C:\x
