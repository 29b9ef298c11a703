"""Logs of containers: which driver and options, what is kept here and read again, what is sent elsewhere.

The shim writes a container's log into files of its directory with every driver but ``none`` and lives on without
execd. With a driver that sends (syslog, fluentd, journald) the same files are the spool: execd reads them behind the
shim and hands on what is new, from a position that it remembers. So ``docker logs`` reads with any driver, and neither
a destination that is away nor a killed execd loses a record before rotation does; what rotation takes is counted.

``options``  a driver's options, judged            ``tag``       tags and attributes out of options and container
``files``    the files as one sequence              ``record``    one line of them
``read``     ReadLogs                               ``watch``     who is told that a log has grown
``forward``  sending: position, retries, losses     ``compress``  old files, made small
``destination``, ``syslog``, ``fluentd``, ``journald``: where records are sent to
"""
