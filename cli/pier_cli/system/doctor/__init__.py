"""``pier system doctor``: what of the host and of the services keeps the engine from its work, and what to do about it.

Each area (kernel, cgroups, limits, storage, network, runtimes, clock, services) is a module that yields ``Check``s.
Those of the host are made by a program of its own (``host``), which prints each as soon as it is known: a disk that
hangs holds up nothing but itself. Reads of /proc and /sys go through ``Files``, whose root a test chooses.
"""
