"""The engine's /etc/hosts and /etc/resolv.conf changed under a running container, which may have changed them too."""

from __future__ import annotations

from collections import Counter


def hosts(before: bytes, after: bytes, now: bytes) -> bytes:
    """The file that holds ``now``, where the engine had written ``before`` and would write ``after``: lines of its own
    that are no more go, new ones are appended, and whatever the container wrote stays where it is."""
    old, new = Counter(before.splitlines(keepends=True)), Counter(after.splitlines(keepends=True))
    gone, fresh = old - new, new - old
    kept = []
    for line in now.splitlines(keepends=True):
        if gone[line]:
            gone[line] -= 1
        else:
            kept.append(line)
    if kept and fresh and not kept[-1].endswith(b"\n"):
        kept[-1] += b"\n"
    return b"".join([*kept, *fresh.elements()])


def resolv_conf(before: bytes, after: bytes, now: bytes) -> bytes:
    """As ``hosts``: the new one, unless the container has its own."""
    return after if now == before else now
