"""Freezing all processes of a cgroup, and finding out whether they are: cgroup v1's freezer, or v2's cgroup.freeze.

Which one holds a container is seen by where its cgroup is: on a hybrid host it may stand in v1 alone. All calls block.
Source: Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst, cgroup-v2.rst ("cgroup.freeze").
"""

from __future__ import annotations

from pathlib import Path

from chassis.errors import Internal
from execd.shim import cgroups


class Freezer:
    """The freezer of the container's cgroup ``path`` ("pier/ID", as the runtime was told)."""

    def __init__(self, path: str) -> None:
        self._v1: Path | None = None
        self._v2: Path | None = None
        for hierarchy in cgroups.hierarchies():
            directory = Path(hierarchy.mount) / path
            if "freezer" in hierarchy.controllers.split(",") and directory.is_dir():
                self._v1 = directory / "freezer.state"
            elif not hierarchy.controllers and (directory / "cgroup.freeze").exists():
                self._v2 = directory

    def freeze(self) -> bool:
        """Ask for it; whether all are frozen by now. To be asked again: one may be stuck in the kernel, and v1 wants it
        while processes are being born."""
        return self._frozen_now(True)

    def thaw(self) -> None:
        self._frozen_now(False)

    def is_frozen(self) -> bool:
        """Whether it is frozen, or about to be. False where the cgroup is gone."""
        try:
            if self._v1 is not None:
                return self._v1.read_text().strip() != "THAWED"
            return self._v2 is not None and (self._v2 / "cgroup.freeze").read_text().strip() == "1"
        except OSError:
            return False

    def _frozen_now(self, wanted: bool) -> bool:
        """Ask for the state; whether it is reached."""
        try:
            if self._v1 is not None:
                self._v1.write_text("FROZEN" if wanted else "THAWED")
                return self._v1.read_text().strip() == "FROZEN"
            if self._v2 is not None:
                (self._v2 / "cgroup.freeze").write_text("1" if wanted else "0")
                return "frozen 1" in (self._v2 / "cgroup.events").read_text()
        except OSError as error:
            raise Internal(f"freezer: {error.strerror}", reason="NO_FREEZER") from error
        raise Internal("this host has no freezer for the container's cgroup", reason="NO_FREEZER")
