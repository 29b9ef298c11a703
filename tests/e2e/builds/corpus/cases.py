"""The Dockerfiles of the corpus. Lines at a file's top say how it is built and what is known of it:

    # build: OPTIONS         options of `docker build`
    # as: NAME               the same in older syntax, which Debian's builder knows: the files must be the same
    # differs: WHAT: WHY     of "config", "history" or "files" (a path, which may end in *)
"""

from __future__ import annotations

import fnmatch
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

DIRECTORY: Final = Path(__file__).parent / "cases"


@dataclass(frozen=True)
class Case:
    name: str
    options: tuple[str, ...] = ()
    older: str = ""
    differs: tuple[str, ...] = field(default_factory=tuple)

    @property
    def dockerfile(self) -> Path:
        return DIRECTORY / f"{self.name}.Dockerfile"

    @property
    def tag(self) -> str:
        return f"corpus/{self.name}:latest"

    def is_known(self, what: str) -> bool:
        return any(fnmatch.fnmatchcase(what, pattern) for pattern in self.differs)


def cases() -> list[Case]:
    return [_case(path) for path in sorted(DIRECTORY.glob("*.Dockerfile"))]


def _case(path: Path) -> Case:
    name = path.name.removesuffix(".Dockerfile")
    options, older, differs = list[str](), "", list[str]()
    for line in path.read_text().splitlines():
        key, colon, value = line.removeprefix("#").strip().partition(":")
        if not line.startswith("#") or not colon:
            continue
        if key == "build":
            options += shlex.split(value)
        elif key == "as":
            older = value.strip()
        elif key == "differs":
            differs.append(value.partition(":")[0].strip())
    return Case(name, tuple(options), older, tuple(differs))
