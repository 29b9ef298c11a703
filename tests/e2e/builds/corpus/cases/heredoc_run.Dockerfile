# as: heredoc_run_older
FROM busybox
ENV A=env
RUN <<EOF
echo $A > /a
B=shell
echo "$B" > /b
EOF
RUN cat <<ONE > /one && cat <<-'TWO' > /two
$A
ONE
	$A
	TWO
