"""What an image's history says of a step, in the words of Docker's classic builder, which tools read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from buildd.config import Step, time_of


def entry(created_ns: int, created_by: str, *, layer: bool, author: str = "") -> Step:
    return Step(created=time_of(created_ns), created_by=created_by, author=author, empty_layer=not layer)


def no_command(shell: Sequence[str], text: str) -> str:
    """Of an instruction that changes files and runs nothing."""
    return f"{' '.join(shell)} #(nop) {text}"


def setting(shell: Sequence[str], text: str) -> str:
    """Of an instruction that changes no file: Docker's has two blanks there."""
    return no_command(shell, f" {text}")


def command(words: Sequence[str], arguments: Mapping[str, str]) -> str:
    """Of a RUN: its words, and before them the number and the values of the build arguments that it saw."""
    given = [f"{name}={value}" for name, value in sorted(arguments.items())]
    return " ".join([f"|{len(given)}", *given, *words] if given else words)
