"""After each privileged test the world is as it was before: one fixture proves it and names what is not.

What a service keeps on purpose and changes by itself (a pool of ready network namespaces) it says through a *baseline*:
a callback that is asked at each snapshot and returns what to leave out::

    leaks.register_baseline(lambda: [Kept("links", rf"{prefix}pool.*"), Kept("mounts", rf"{run}/netns/pool-.*")])

Descriptors are compared for the processes that live before and after; a process that came or went is a fact itself.
Pinned network namespaces are mounts of type nsfs, named by their path.
"""

from __future__ import annotations

import gc
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests import facts, world

PRIVILEGED: Final = ("service", "e2e", "fault", "security")
WITHIN: Final = 30.0  # seconds that the engine has to finish what it does off the request path
_FIRST_PAUSE, _LAST_PAUSE = 0.005, 0.1  # seconds between two looks, doubling
_PER_KIND: Final = 20  # names shown of each kind and sign


@dataclass(frozen=True)
class Kept:
    """Facts of ``kind`` whose whole name matches the regular expression ``pattern`` are no leak."""

    kind: str
    pattern: str


Baseline = Callable[[], Iterable[Kept]]
_baselines: list[Baseline] = []


def register_baseline(callback: Baseline) -> Callable[[], None]:
    """Ask ``callback`` at each snapshot what is kept on purpose; the function returned ends that."""
    _baselines.append(callback)
    return lambda: _baselines.remove(callback)


def take() -> facts.Facts:
    """The facts of this moment without what the baselines keep.

    The baselines are asked before and after: a pool that is being filled meanwhile may show in either answer.
    """
    kept = [entry for callback in _baselines for entry in callback()]
    snapshot = facts.take()
    kept += [entry for callback in _baselines for entry in callback()]
    if not kept:
        return snapshot
    patterns = {kind: [re.compile(entry.pattern) for entry in kept if entry.kind == kind] for kind in snapshot}
    return {
        kind: Counter({
            name: count for name, count in names.items()
            if not any(pattern.fullmatch(name) for pattern in patterns[kind])
        })
        for kind, names in snapshot.items()
    }


def difference(before: facts.Facts, after: facts.Facts) -> list[str]:
    """One line for each fact that came (``+``) or went (``-``); empty where the world is as it was."""
    before, after = dict(before), dict(after)
    lived = _owners(before["descriptors"]) & _owners(after["descriptors"])
    for snapshot in (before, after):
        snapshot["descriptors"] = Counter({
            name: count for name, count in snapshot["descriptors"].items() if name.partition(" ")[0] in lived
        })
    lines = []
    for kind in before:
        for sign, names in (("+", after[kind] - before[kind]), ("-", before[kind] - after[kind])):
            shown = sorted(names.items())
            for name, count in shown[:_PER_KIND]:
                lines.append(f"{kind}: {sign} {name}" + (f" (× {count})" if count > 1 else ""))
            if len(shown) > _PER_KIND:
                lines.append(f"{kind}: {sign} and {len(shown) - _PER_KIND} more")
    return lines


def _owners(descriptors: Iterable[str]) -> set[str]:
    return {name.partition(" ")[0] for name in descriptors}


def settle(before: facts.Facts, within: float = WITHIN) -> list[str]:
    """Look until the world is as ``before``, ``within`` seconds at most; what then still differs.

    Nothing in the kernel tells all of these events, so it looks again and again, less and less often.
    """
    deadline = time.monotonic() + within
    pause = _FIRST_PAUSE
    while True:
        lines = difference(before, take())
        if not lines or time.monotonic() >= deadline:
            return lines
        if pause == _FIRST_PAUSE:
            gc.collect()  # a channel that the test has closed is connected for as long as garbage refers to it
        time.sleep(min(pause, _LAST_PAUSE))
        pause *= 2


def is_privileged(path: Path) -> bool:
    """Whether the test file ``path`` stands under a directory of privileged tests."""
    tests = Path(__file__).parent
    return tests in path.parents and path.relative_to(tests).parts[0] in PRIVILEGED


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """The world after the test is as before it. Outside a world a privileged test fails at once."""
    if not is_privileged(request.node.path) or request.node.get_closest_marker("host"):
        yield
        return
    if not world.inside():
        pytest.fail("this test needs a world: make test, or python -m tests.world -- python -m pytest", pytrace=False)
    before = take()
    yield
    left = settle(before)
    if left:
        pytest.fail("the test left the world changed:\n  " + "\n  ".join(left), pytrace=False)
