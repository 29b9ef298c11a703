"""What a Dockerfile holds, as values. Texts are words: their variables are replaced by whoever carries them out.

What changes nothing but an image's config is the coordinator's, whose `commit --change` takes the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from coordinator.dockerfile.instructions import (
    Cmd,
    Command,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Instruction,
    Label,
    Location,
    OnBuild,
    Shell,
    StopSignal,
    User,
    Volume,
    Workdir,
)

__all__ = [
    "Add", "Arg", "Cmd", "Command", "Copy", "Dockerfile", "Entrypoint", "Env", "Expose", "Finding", "From",
    "Healthcheck", "Heredoc", "Instruction", "Label", "Location", "Maintainer", "Mount", "OnBuild", "Run", "Shell",
    "Stage", "StopSignal", "User", "Volume", "Workdir",
]


@dataclass(frozen=True)
class Heredoc:
    """``<<NAME`` … ``NAME``. Variables are replaced in ``text`` unless the name was quoted (``literal``).

    In ``text`` the tabs that ``<<-`` takes away are gone; ``raw`` has them, for a shell that is given the whole.
    """

    name: str
    text: str
    literal: bool
    raw: str = ""


@dataclass(frozen=True)
class From(Instruction):
    image: str
    name: str
    """Lower case; "" where the stage has none."""
    platform: str = ""


@dataclass(frozen=True)
class Arg(Instruction):
    """Names and their defaults; None where there is none."""

    entries: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True)
class Mount:
    """``RUN --mount=…``: every option as the reference names it; what was not given is "" or None.

    ``text`` is the flag's value. Where a variable stands in it, the other fields hold only what is certain without
    it, and `mounts.parse` gives them all once variables can be replaced.
    """

    type: Literal["bind", "cache", "tmpfs", "secret", "ssh"]
    target: str = ""
    source: str = ""
    from_: str = ""
    id: str = ""
    read_only: bool | None = None
    sharing: Literal["", "shared", "private", "locked"] = ""
    required: bool = False
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    size: int | None = None
    """Bytes (tmpfs)."""
    env: str = ""
    """Of a secret: the variable that holds it."""
    text: str = ""


@dataclass(frozen=True)
class Run(Instruction):
    """Heredocs: where ``heredoc_only``, the first one is the command itself (a program where it begins with ``#!``);
    otherwise the shell is given the command's line with the heredocs' ``raw`` lines behind it."""

    command: Command
    heredocs: tuple[Heredoc, ...] = ()
    mounts: tuple[Mount, ...] = ()
    network: Literal["default", "none", "host"] = "default"
    security: Literal["sandbox", "insecure"] = "sandbox"
    heredoc_only: bool = False


@dataclass(frozen=True)
class Copy(Instruction):
    """COPY and ADD. ``sources`` and ``target`` are words; ``heredocs`` are sources of their own, by their names."""

    sources: tuple[str, ...]
    target: str
    heredocs: tuple[Heredoc, ...] = ()
    from_: str = ""
    """A stage's name or number, a named context, or an image; "" for the context."""
    chown: str = ""
    chmod: str = ""
    link: bool = False
    parents: bool = False
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True)
class Add(Copy):
    """``keep_git_dir``, ``checksum`` and ``unpack`` as the reference's flags; None where one was not given."""

    keep_git_dir: bool = False
    checksum: str = ""
    unpack: bool | None = None


@dataclass(frozen=True)
class Maintainer(Instruction):
    author: str


@dataclass(frozen=True)
class Stage:
    """``index`` counts from 0."""

    index: int
    base: From
    steps: tuple[Instruction, ...]

    @property
    def name(self) -> str:
        return self.base.name or str(self.index)


@dataclass(frozen=True)
class Finding:
    """A build check that failed: ``rule`` is BuildKit's name for it ("StageNameCasing")."""

    rule: str
    message: str
    location: Location


@dataclass(frozen=True)
class Dockerfile:
    """``arguments`` are the ARGs before the first FROM; ``directives`` by their lower-case names.

    ``comments`` are the lines of comment right above an instruction, by the instruction's first line;
    ``empty_continuations`` the instructions within which a line is empty.
    """

    arguments: tuple[Arg, ...]
    stages: tuple[Stage, ...]
    directives: Mapping[str, str] = field(default_factory=dict)
    escape: str = "\\"
    comments: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    empty_continuations: tuple[Location, ...] = ()
