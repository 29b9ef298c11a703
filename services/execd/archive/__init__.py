"""Files of a container, as it sees them: one short-lived process per call, locked into the container's file tree.

``Archives`` (in execd) runs ``python -I …/execd/archive/__main__.py REQUEST``. The program enters the mount namespace
of a running container, or makes one of the same mounts for a container that does not run; the container's root is its
root from then on, and it keeps only the capabilities that files need. What it imports, it imports before.

``view``     from a request to a process that stands in the container      ``paths``    what a path means there
``program``  the program                                                   ``archives`` execd's side

REQUEST is a JSON object: ``execd`` (its pid), ``verb`` (stat, read, write), ``path``, and either ``pidfd`` (a
descriptor that is passed on) or ``run_dir`` (a directory to mount at), ``rootfs`` and ``binds`` (mounts in the shim's
words); for write also ``keep_kinds``, ``user`` (to whom all is to belong, or null) and ``read_only`` (the root file
system may not be written to). Bytes that are no UTF-8 travel as Python's surrogate escapes. Standard output is the
path's stat as one JSON line, then for read the archive; standard input is the archive for write. A failure is the last
line of standard error: ``[gRPC code, reason, message, field]``.
"""
