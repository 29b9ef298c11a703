"""A world: the namespaces in which privileged tests run, so that counts are exact and the host stays as it is.

``python -m tests.world -- COMMAND`` runs COMMAND as the child of a new pid 1 with mount, network, pid, cgroup, uts and
ipc namespaces of its own. What it finds there is a fresh host:

* the host's files, read-only; its own /run, /tmp, /var/tmp, /var/lib, /dev/shm and terminals, empty at first. The
  directory that COMMAND is started in, and the Python environment it runs in, are the only things of the host's that it
  may write to.
* cgroups: every hierarchy mounted where the host has it, its root being a cgroup that was made for the world.
* network: loopback and ``eth0``, 198.51.100.2/24 and 2001:db8:1::2/64, default route over the *outside host*, which
  lives in the pinned netns ``outside`` and has 203.0.113.1 and 203.0.113.53 besides. The outside host knows no route to
  anything behind this one: what a container sends arrives only translated. Forwarding is off, as on a fresh host.

When COMMAND ends, its exit code is handed on (128+n for a signal), every process left is killed, the cgroups go.

Vocabulary: the *keeper* is the process on the host that makes and removes a world, *init* is its pid 1, *outside* the
second host. The keeper changes no namespace of its own but the pid namespace of its future children.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

OUTSIDE: Final = Path("/run/netns/outside")
ADDRESS: Final = "198.51.100.2"
GATEWAY: Final = "198.51.100.1"
ADDRESS6: Final = "2001:db8:1::2"
GATEWAY6: Final = "2001:db8:1::1"
FAR: Final = "203.0.113.1"
NAMESERVER: Final = "203.0.113.53"
_MARK: Final = Path("/run/world")


def inside() -> bool:
    """Whether this process runs in a world."""
    return _MARK.exists() and OUTSIDE.exists()
