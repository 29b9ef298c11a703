"""Variables of an instruction replaced by what they hold where it stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from buildd.dockerfile import mounts
from buildd.dockerfile.instructions import Add, Arg, Copy, Heredoc, Instruction, Run
from coordinator.dockerfile import expansion as of_config
from coordinator.dockerfile.expansion import Expander
from coordinator.dockerfile.words import Work


@dataclass(frozen=True)
class Expanded:
    """``used`` and ``missing``: the variables that the instruction names and that were set, and were not."""

    instruction: Instruction
    used: frozenset[str]
    missing: frozenset[str]


def expand(
    instruction: Instruction, variables: Mapping[str, str], escape: str = "\\", work: Work | None = None
) -> Expanded:
    """``escape`` is the Dockerfile's, ``work`` what its instructions have left together. Commands, health checks and
    triggers stay as they are: a shell or a later build replaces their variables. InvalidArgument where a word does not
    end, ``${name:?word}`` says so, or what a variable stands for is not what an option of a mount takes."""
    by = Expander(variables, escape, work=work or Work())
    here = _EXPANSIONS.get(type(instruction))
    made = here(instruction, by) if here else of_config.expand(instruction, by)
    return Expanded(made, frozenset(by.used), frozenset(by.missing))


def _run(given: Run, by: Expander) -> Run:
    return replace(given, mounts=tuple(mounts.parse(mount.text, by.word) for mount in given.mounts))


def _copy(given: Copy, by: Expander) -> Copy:
    return replace(
        given, sources=by.all(given.sources), target=by.word(given.target), chown=by.word(given.chown),
        chmod=by.word(given.chmod), exclude=by.all(given.exclude),
        heredocs=tuple(_heredoc(found, by) for found in given.heredocs),
    )


def _add(given: Add, by: Expander) -> Copy:
    return _copy(replace(given, checksum=by.word(given.checksum)), by)


def _heredoc(given: Heredoc, by: Expander) -> Heredoc:
    return given if given.literal else replace(given, text=by.document(given.text))


def _arg(given: Arg, by: Expander) -> Arg:
    """Each default sees those before it."""
    known, entries = dict(by.variables), list[tuple[str, str | None]]()
    by.variables = known
    for name, default in given.entries:
        value = None if default is None else by.word(default)
        entries.append((name, value))
        if value is not None:
            known[name] = value
    return replace(given, entries=tuple(entries))


_EXPANSIONS: Final[dict[type[Instruction], Callable[[Any, Expander], Instruction]]] = {
    Add: _add, Arg: _arg, Copy: _copy, Run: _run,
}
