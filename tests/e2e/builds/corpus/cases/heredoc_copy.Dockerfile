# buildah: /h/one: a backslash before $ is none of the text's, as with BuildKit
# as: heredoc_copy_older
FROM busybox
ARG WHO=me
COPY <<one <<'two' /h/
hello $WHO "q" \$x
one
hello $WHO
two
COPY <<-tabs /tabbed
	a
		b
	tabs
COPY --chown=3:4 --chmod=750 <<"named" /owned
x
named
