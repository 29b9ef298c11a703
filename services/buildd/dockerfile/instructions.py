"""What a Dockerfile holds, as values. Texts are words: their variables are replaced by whoever carries them out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Location:
    """Lines ``first`` to ``last`` of the file, counted from 1."""

    first: int
    last: int


@dataclass(frozen=True)
class Heredoc:
    """``<<NAME`` … ``NAME``. Variables are replaced in ``text`` unless the name was quoted (``literal``)."""

    name: str
    text: str
    literal: bool


@dataclass(frozen=True)
class Instruction:
    """``original`` is the text as it stands in the file, continuation lines joined: what history and progress show."""

    location: Location
    original: str


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
    """``RUN --mount=…``: every option as the reference names it; what was not given is "" or None."""

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


@dataclass(frozen=True)
class Command:
    """``words`` in exec form (a JSON array), else ``shell``: the text for the stage's SHELL."""

    words: tuple[str, ...] | None
    shell: str = ""


@dataclass(frozen=True)
class Run(Instruction):
    command: Command
    heredocs: tuple[Heredoc, ...] = ()
    mounts: tuple[Mount, ...] = ()
    network: Literal["default", "none", "host"] = "default"
    security: Literal["sandbox", "insecure"] = "sandbox"


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
    """``arguments`` are the ARGs before the first FROM; ``directives`` by their lower-case names."""

    arguments: tuple[Arg, ...]
    stages: tuple[Stage, ...]
    directives: dict[str, str] = field(default_factory=dict)
    escape: str = "\\"
