"""What a container has left in the runtime, the cgroups and the mounts, and its going."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from execd.shim import cgroups, mounts
from execd.shim.loop import Loop
from execd.shim.protocol import RuntimeSpec, ShimSpec
from execd.shim.runtime import Children, Runtime

_PAUSE: Final = 0.01
_TRIES: Final = 500
Done = Callable[[str], None]


class Release:
    """``begin`` calls ``done(error)`` when nothing is left, with "" for its error."""

    def __init__(self, loop: Loop, children: Children, spec: ShimSpec, cgroup: str) -> None:
        self._loop = loop
        self._children = children
        self._spec = spec
        self._cgroup = cgroup

    def begin(self, spec: RuntimeSpec, done: Done) -> None:
        """First the runtime's own delete. The caller stands in the shim's mount namespace."""
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)

        def deleted(code: int, error: str) -> None:
            if code and os.path.exists(os.path.join(spec.root, self._spec.id)):
                done(error or f"the runtime's delete ended with {code}")
            else:
                self._clear(_TRIES, done)

        try:
            Runtime(self._loop, self._children, spec, self._spec.id, self._spec.run_dir).call(
                ["delete", "--force"], [null, null, null], deleted
            )
        finally:
            os.close(null)

    def _clear(self, tries: int, done: Done) -> None:
        """Then its cgroup, when the kernel lets it go, and its mounts."""
        if self._cgroup and not cgroups.remove_container(self._cgroup):
            if tries:
                self._loop.later(_PAUSE, lambda: self._clear(tries - 1, done))
            else:
                done(f"cgroup {self._cgroup} is busy")
            return
        mounts.leave(self._spec.run_dir)
        done("")
