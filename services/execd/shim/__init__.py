"""The shim: the one process between a container and the void. It outlives every service.

It holds the container's pipes or terminal, writes its log, serves attach clients, records exits durably and reaps.
Only ``os, sys, socket, select, struct, json, signal, fcntl, termios, errno, time, mmap, ctypes`` and what those bring
are imported, so that a shim costs little more than the pages it writes to.

``protocol``  the vocabulary between execd and a shim      ``shim``     the verbs
``loop``      readiness, timers, children                  ``process``  one process, its streams and clients
``lines``     JSON-line connections                        ``clients``  attach clients
``mounts``    the private mount namespace                  ``runtime``  calls of the OCI runtime
``jsonlog``   the log file                                 ``record``   durable exit records
``stdio``     pipes and terminals                          ``doors``    the two sockets
``cgroups``   where the shim stands, out-of-memory kills   ``main``     from a forked child to a shim
``steps``     what a trace shows                           ``release``  the end of what a container had
``description``  what a shim says of itself             ``succession``  in the place of a killed one
``intake``    what was read and is not yet logged
"""
