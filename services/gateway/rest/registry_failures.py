"""A registry that is down is no failure of ours: 503 would say that the engine is, so it is told as Docker tells it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from chassis.errors import Internal, Unavailable

_REASONS: Final = frozenset({"REGISTRY_DOWN", "REGISTRY_REFUSED", "REGISTRY_TLS", "TRANSFER_BROKEN"})


@contextmanager
def told() -> Iterator[None]:
    """Internal (500) in place of Unavailable where the registry is what does not answer."""
    try:
        yield
    except Unavailable as error:
        if error.reason in _REASONS:
            raise Internal(error.message, reason=error.reason) from error
        raise
