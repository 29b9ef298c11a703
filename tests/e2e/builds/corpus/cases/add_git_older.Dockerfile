FROM busybox
RUN mkdir -p /head/sub /tag/sub /below && for d in /head /tag; do echo one > $d/one; echo two > $d/sub/two.sh; chmod 755 $d/sub/two.sh; done && cp -p /head/sub/two.sh /below/ && chown -R 3:4 /below
