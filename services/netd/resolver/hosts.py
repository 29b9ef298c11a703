"""The host's own resolvers, as /etc/resolv.conf says now."""

from __future__ import annotations

import ipaddress
import os
import time
from typing import Final

_LOOK_AGAIN: Final = 1.0
_SIZE_MAX: Final = 64 * 1024
_RESOLVERS_MAX: Final = 3
"""As many as the C library's own resolver asks (resolv.conf(5), MAXNS)."""


def nameservers(text: str) -> list[str]:
    """The addresses of the ``nameserver`` lines, in their order; what is no address is left out."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver" and is_address(words[1]):
            found.append(words[1])
    return found


def is_address(text: str) -> bool:
    """An IPv4 or IPv6 address, an IPv6 zone allowed."""
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True


class HostResolvers:
    """Read anew when the file has changed, looked at once a second at most. Loopback ones can be asked from here."""

    def __init__(self, path: str = "/etc/resolv.conf") -> None:
        self._path = path
        self._found: tuple[str, ...] = ()
        self._look_at = 0.0
        self._seen: tuple[int, int, int] | None = None

    def __call__(self) -> tuple[str, ...]:
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_AGAIN
            self._look()
        return self._found

    def _look(self) -> None:
        try:
            stat = os.stat(self._path)
            seen = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if seen == self._seen:
                return
            with open(self._path, errors="replace") as file:
                self._found = tuple(nameservers(file.read(_SIZE_MAX))[:_RESOLVERS_MAX])
            self._seen = seen
        except OSError:
            self._found, self._seen = (), None
