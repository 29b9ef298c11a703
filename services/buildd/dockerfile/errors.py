"""Errors with their place in the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from buildd.dockerfile.instructions import Location
from chassis.errors import InvalidArgument, PierError

REASON = "BAD_DOCKERFILE"
_OF_COMMANDS = ("COMMAND_FAILED", "CACHE_LOST")


def at(name: str, location: Location, message: str) -> InvalidArgument:
    """In BuildKit's words; the field is "FILE:LINE"."""
    return InvalidArgument(
        f"dockerfile parse error on line {location.first}: {message}", reason=REASON, field=f"{name}:{location.first}",
        facts={"file": name, "first_line": str(location.first), "last_line": str(location.last)},
    )


@contextmanager
def placed(name: str, location: Location) -> Iterator[None]:
    """What fails while an instruction is carried out is said with its place, too, but for a command's own failure,
    whose words programs read."""
    try:
        yield
    except PierError as error:
        if error.reason in (REASON, *_OF_COMMANDS) or "file" in error.facts:
            raise
        raise type(error)(
            f"{name}:{location.first}: {error.message}", reason=error.reason, field=error.field,
            expected=error.expected, facts={
                "file": name, "first_line": str(location.first), "last_line": str(location.last), **error.facts},
        ) from error


@contextmanager
def located(name: str, location: Location) -> Iterator[None]:
    """What is wrong with an instruction is said with its place."""
    try:
        yield
    except InvalidArgument as error:
        if error.reason == REASON:
            raise
        raise at(name, location, error.message) from error
