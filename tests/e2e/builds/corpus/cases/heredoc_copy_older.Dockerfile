FROM busybox
RUN mkdir /h && printf 'hello me "q" $x\n' > /h/one && printf 'hello $WHO\n' > /h/two && printf 'a\nb\n' > /tabbed && printf 'x\n' > /owned && chmod 750 /owned && chown 3:4 /owned
