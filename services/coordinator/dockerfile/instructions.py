"""Instructions that change an image's config, as values. Texts are words: see `expansion` for their variables."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Location:
    """Lines ``first`` to ``last`` of the file, counted from 1."""

    first: int
    last: int


@dataclass(frozen=True)
class Instruction:
    """``original`` is the text as it stands in the file, continuation lines joined: what history and progress show."""

    location: Location
    original: str

    @property
    def keyword(self) -> str:
        """The instruction's name in capitals: "RUN"."""
        return self.original.split(None, 1)[0].upper()


@dataclass(frozen=True)
class Command:
    """``words`` in exec form (a JSON array), else ``shell``: the text for the stage's SHELL."""

    words: tuple[str, ...] | None
    shell: str = ""


@dataclass(frozen=True)
class Env(Instruction):
    entries: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Label(Instruction):
    entries: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Cmd(Instruction):
    command: Command


@dataclass(frozen=True)
class Entrypoint(Instruction):
    command: Command


@dataclass(frozen=True)
class Shell(Instruction):
    words: tuple[str, ...]


@dataclass(frozen=True)
class Expose(Instruction):
    """Sorted. One word may become several when its variables are replaced."""

    ports: tuple[str, ...]


@dataclass(frozen=True)
class Volume(Instruction):
    paths: tuple[str, ...]


@dataclass(frozen=True)
class User(Instruction):
    user: str


@dataclass(frozen=True)
class Workdir(Instruction):
    path: str


@dataclass(frozen=True)
class StopSignal(Instruction):
    signal: str


@dataclass(frozen=True)
class Healthcheck(Instruction):
    """``command`` is None for NONE. Times in nanoseconds, 0 where not given."""

    command: Command | None
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


@dataclass(frozen=True)
class OnBuild(Instruction):
    trigger: str
    """The instruction's text, as it is kept in the image."""
