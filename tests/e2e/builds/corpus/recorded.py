"""What Debian's builders made of the corpus: `docker.json` and `buildah.json`, and how they are made.

    python -m tests.world -- python -m tests.e2e.builds.corpus.recorded docker|buildah [NAME ...]

builds every Dockerfile, or those named, with the classic builder of this machine's docker.io (without those that have
an ``as:``), or with its buildah, and writes the file. An image stands there as what it has beside busybox's: that one
is of another version on each Debian. buildah's is Debian 13's, which knows more of the language than Debian 12's does:
where it was recorded elsewhere, BUILDAH_ROOT was a root directory that has it, as debootstrap makes one.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from tests.e2e.beside import dockerd
from tests.e2e.builds.corpus import context
from tests.e2e.builds.corpus.buildah import Buildah
from tests.e2e.builds.corpus.cases import Case, cases
from tests.e2e.builds.corpus.facts import File, Image, images

DOCKER: Final = Path(__file__).parent / "docker.json"
BUILDAH: Final = Path(__file__).parent / "buildah.json"
BASE: Final = "busybox:latest"
_OF_RUN: Final = frozenset({
    "/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/run", "/run/.containerenv",
})
"""What buildah leaves in a layer of what it lends a command."""
_DIGEST: Final = re.compile(r"(--chown=\S+?)? ?(?:(?:file|dir|multi):)?[0-9a-f]{63,64}(?= )")


@dataclass(frozen=True)
class Facts:
    """``history``: what it says and whether there is a layer, without digests; ``files``: what the base has not, or
    has otherwise; ``removed``: what the base has and it has not."""

    config: dict[str, Any]
    author: str
    history: list[list[Any]]
    files: dict[str, list[Any]]
    removed: list[str]

    def flat(self) -> dict[str, Any]:
        """By what a case names them."""
        return {
            **{f"config.{key}": value for key, value in self.config.items()}, "author": self.author,
            "history": self.history, **self.files, **dict.fromkeys(self.removed, "removed"),
        }


def facts(image: Image, base: Image) -> Facts:
    own = len(base.history)
    stands_on = image.history[:own] == base.history
    files = {path: _listed(file) for path, file in image.files.items() if base.files.get(path) != file}
    removed = sorted(base.files.keys() - image.files.keys()) if stands_on else []
    steps = image.history[own:] if stands_on else image.history
    history = [[_DIGEST.sub(_files, step.created_by), step.has_layer] for step in steps]
    return Facts(image.config, image.author, history, dict(sorted(files.items())), removed)


def _files(match: re.Match[str]) -> str:
    """Docker's builder tells a directory and several files apart, and puts no blank behind --chown. A URL's
    content has a digest alone."""
    return f" {match[1] or ''} FILES"


def _listed(file: File) -> list[Any]:
    return [file.kind, file.mode, list(file.owner), file.content, file.time]


def reference(path: Path) -> dict[str, Facts]:
    """By the names of the cases; those that a builder refused are not there."""
    return {name: Facts(**found) for name, found in json.loads(path.read_text()).items()}


def recorded(docker: dockerd.Dockerd, wanted: Sequence[Case], directory: Path) -> dict[str, Facts]:
    """Build with Debian's classic builder; ``directory`` is empty."""
    places = {case.name: context.of(case, directory) for case in wanted}

    def build(case: Case) -> None:
        dockerfile, files = places[case.name]
        docker.ok("build", "-q", "-t", case.tag, "-f", str(dockerfile), *case.options, str(files))

    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(build, case) for case in wanted]
    if errors := [error for one in done if isinstance(error := one.exception(), Exception)]:
        raise ExceptionGroup("docker.io's builder refuses", errors)
    found = images(docker.docker("save", BASE, *(case.tag for case in wanted), text=False).stdout)
    docker.ok("rmi", "-f", *(case.tag for case in wanted))
    docker.ok("image", "prune", "-f")
    return {case.name: facts(found[case.tag], found[BASE]) for case in wanted}


def recorded_of_buildah(buildah: Buildah, which: Iterable[Case]) -> tuple[dict[str, Facts], dict[str, str]]:
    """Build with Debian's buildah. What it made, and why it made nothing, by the cases' names."""
    base, made, failures = buildah.image(BASE), dict[str, Facts](), dict[str, str]()
    for case in which:
        if failure := buildah.build(case):
            failures[case.name] = failure
        else:
            found = facts(buildah.image(case.tag), base)
            files = {path: file for path, file in found.files.items() if path not in _OF_RUN}
            made[case.name] = replace(found, files=files)
    return made, failures


def _write(path: Path, found: Mapping[str, Facts]) -> None:
    lines = [f"{json.dumps(name)}: {json.dumps(asdict(image))}" for name, image in sorted(found.items())]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def main(builder: str, *names: str) -> None:
    with tempfile.TemporaryDirectory() as place, context.served(Path(place) / "served"):
        wanted = [case for case in cases() if case.name in (names or [case.name])]
        home = Path(place) / builder
        home.mkdir()
        if builder == "docker":
            files = Path(place) / "contexts"
            files.mkdir()
            with dockerd.running(home) as docker:
                found = recorded(docker, [case for case in wanted if not case.older], files)
            _write(DOCKER, {**(reference(DOCKER) if names else {}), **found})
        else:
            root = Path(os.environ.get("BUILDAH_ROOT", "/"))
            found, failures = recorded_of_buildah(Buildah(home, root), wanted)
            kept = {name: image for name, image in reference(BUILDAH).items() if name not in names} if names else {}
            _write(BUILDAH, {**kept, **found})
            for name, failure in failures.items():
                print(f"{name}: {failure}")


if __name__ == "__main__":
    main(*sys.argv[1:])
