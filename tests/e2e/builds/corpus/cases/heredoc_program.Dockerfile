# as: heredoc_program_older
# buildah: refused: it gives the program a name that is not there
FROM busybox
ENV A=env
RUN <<-PROGRAM
	#!/usr/bin/awk -f
	BEGIN { print ENVIRON["A"] > "/program" }
PROGRAM
