"""execd owns processes: containers, execs, their exit status and their logs."""
