"""API versions: which are spoken, and how they compare."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from gateway.rest.errors import bad

_PREFIX: Final = re.compile(r"/v([0-9.]+)(/.*)")


class Version(NamedTuple):
    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


NEWEST: Final = Version(1, 56)
OLDEST: Final = Version(1, 24)


def split(path: str) -> tuple[Version, str]:
    """(version, path without it). A bare path means the newest. 400 with Docker's words outside of what is spoken."""
    found = _PREFIX.fullmatch(path)
    if not found:
        return NEWEST, path
    parts = [int(part[:6] or 0) for part in found[1].split(".")]
    version = Version(parts[0], parts[1] if len(parts) > 1 else 0)
    if version > NEWEST:
        raise bad(f"client version {found[1]} is too new. Maximum supported API version is {NEWEST}")
    if version < OLDEST:
        raise bad(
            f"client version {found[1]} is too old. Minimum supported API version is {OLDEST}, please upgrade your "
            "client to a newer version"
        )
    return version, found[2]
