"""Errors with their place in the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from buildd.dockerfile.instructions import Location
from chassis.errors import InvalidArgument

REASON = "BAD_DOCKERFILE"


def at(name: str, location: Location, message: str) -> InvalidArgument:
    """In BuildKit's words; the field is "FILE:LINE"."""
    return InvalidArgument(
        f"dockerfile parse error on line {location.first}: {message}", reason=REASON, field=f"{name}:{location.first}",
        facts={"file": name, "first_line": str(location.first), "last_line": str(location.last)},
    )


@contextmanager
def located(name: str, location: Location) -> Iterator[None]:
    """What is wrong with an instruction is said with its place."""
    try:
        yield
    except InvalidArgument as error:
        if error.reason == REASON:
            raise
        raise at(name, location, error.message) from error
