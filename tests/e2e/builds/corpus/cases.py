"""The Dockerfiles of the corpus. Lines at a file's top say how it is built and what is known of it:

    # build: OPTIONS         options of `docker build`, and of `buildah bud`
    # as: NAME               the same in older syntax, which docker.io's builder knows: the files must be the same
    # ignore: PATTERN        a line of the context's .dockerignore, in place of those that it has
    # own: PATTERN           a line of the Dockerfile's own ignore file, beside it in the context
    # differs: WHAT: WHY     from docker.io's builder
    # both: WHAT: WHY        from both
    # buildah: WHAT: WHY     from Debian's buildah; "refused" as WHAT: it builds none

WHAT is "config.NAME", "author", "history" or a file's path, and may end in *.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DIRECTORY: Final = Path(__file__).parent / "cases"
REFUSED: Final = "refused"


@dataclass(frozen=True)
class Case:
    name: str
    options: tuple[str, ...] = ()
    older: str = ""
    ignored: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()
    buildah: tuple[str, ...] = ()

    @property
    def tag(self) -> str:
        return f"corpus/{self.name}:latest"

    @property
    def text(self) -> str:
        return (DIRECTORY / f"{self.name}.Dockerfile").read_text()


def cases() -> list[Case]:
    return [_case(path.name.removesuffix(".Dockerfile")) for path in sorted(DIRECTORY.glob("*.Dockerfile"))]


def _case(name: str) -> Case:
    found: dict[str, list[str]] = {}
    for line in Case(name).text.splitlines():
        key, colon, value = line.removeprefix("#").strip().partition(": ")
        if line.startswith("#") and colon:
            found.setdefault(key, []).append(value.strip())

    def whats(key: str) -> tuple[str, ...]:
        return tuple(value.partition(": ")[0] for value in (*found.get(key, ()), *found.get("both", ())))

    return Case(
        name, tuple(word for value in found.get("build", ()) for word in shlex.split(value)),
        found.get("as", [""])[0], tuple(found.get("ignore", ())), tuple(found.get("own", ())),
        whats("differs"), whats("buildah"),
    )
