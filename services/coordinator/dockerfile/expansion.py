"""Variables of an instruction replaced: which of its texts are words, and which of them become several."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar, cast

from coordinator.dockerfile.instructions import (
    Env,
    Expose,
    Instruction,
    Label,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from coordinator.dockerfile.words import Expansion, Lexer, Work

Kind = TypeVar("Kind", bound=Instruction)


@dataclass
class Expander:
    """Replaces the variables of one instruction, and keeps which were used, and which there were not."""

    variables: Mapping[str, str]
    escape: str = "\\"
    used: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)
    work: Work = field(default_factory=Work)

    def __post_init__(self) -> None:
        self._lexer = Lexer(self.escape, work=self.work)
        self._unquoted = replace(self._lexer, escape="\\", quotes=False)

    def word(self, text: str) -> str:
        """``text`` as one word."""
        return self._read(self._lexer, text).text

    def all(self, texts: Iterable[str]) -> tuple[str, ...]:
        """Each as one word."""
        return tuple(self.word(text) for text in texts)

    def words(self, texts: Iterable[str]) -> tuple[str, ...]:
        """What each becomes, divided at blanks."""
        return tuple(word for text in texts for word in self._read(self._lexer, text).words)

    def pairs(self, entries: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
        return tuple((self.word(key), self.word(value)) for key, value in entries)

    def document(self, text: str) -> str:
        """``text`` with its variables replaced, in which quotes mean nothing: a heredoc's."""
        return self._read(self._unquoted, text).text

    def _read(self, lexer: Lexer, text: str) -> Expansion:
        found = lexer.read(text, self.variables)
        self.used |= found.used
        self.missing |= found.missing
        return found


_EXPANSIONS: Final[dict[type[Instruction], Callable[[Any, Expander], Instruction]]] = {
    Env: lambda given, by: replace(given, entries=by.pairs(given.entries)),
    Label: lambda given, by: replace(given, entries=by.pairs(given.entries)),
    Expose: lambda given, by: replace(given, ports=by.words(given.ports)),
    Volume: lambda given, by: replace(given, paths=by.all(given.paths)),
    User: lambda given, by: replace(given, user=by.word(given.user)),
    Workdir: lambda given, by: replace(given, path=by.word(given.path)),
    StopSignal: lambda given, by: replace(given, signal=by.word(given.signal)),
}
"""Commands, health checks and triggers are the container's own affair: their variables are replaced there."""


def expand(instruction: Kind, by: Expander) -> Kind:
    """InvalidArgument where a word does not end, or ``${name:?word}`` says so."""
    expansion = _EXPANSIONS.get(type(instruction))
    return instruction if expansion is None else cast(Kind, expansion(instruction, by))
