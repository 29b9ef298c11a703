"""What Debian's builder made of the corpus: `reference.json`, and how it is made.

    python -m tests.world -- python -m tests.e2e.builds.corpus.recorded [NAME ...]

builds every Dockerfile that has no ``as:``, or those named, with the classic builder of this machine's docker.io, and
writes the file. An
image stands there as what it has beside busybox's: that one is of another version on each Debian.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from tests.e2e.beside import dockerd
from tests.e2e.builds.corpus import context
from tests.e2e.builds.corpus.cases import Case, cases
from tests.e2e.builds.corpus.facts import File, Image, images

PATH: Final = Path(__file__).parent / "reference.json"
BASE: Final = "busybox:latest"
_DIGEST: Final = re.compile(r"(--chown=\S+?)? ?(?:file|dir|multi):[0-9a-f]{64}")


@dataclass(frozen=True)
class Facts:
    """``history``: what it says and whether there is a layer, without digests; ``files``: what the base has not, or
    has otherwise; ``removed``: what the base has and it has not."""

    config: dict[str, Any]
    author: str
    history: list[list[Any]]
    files: dict[str, list[Any]]
    removed: list[str]


def facts(image: Image, base: Image) -> Facts:
    own = len(base.history)
    stands_on = image.history[:own] == base.history
    files = {path: _listed(file) for path, file in image.files.items() if base.files.get(path) != file}
    removed = sorted(base.files.keys() - image.files.keys()) if stands_on else []
    steps = image.history[own:] if stands_on else image.history
    history = [[_DIGEST.sub(_files, step.created_by), step.has_layer] for step in steps]
    return Facts(image.config, image.author, history, dict(sorted(files.items())), removed)


def _files(match: re.Match[str]) -> str:
    """Docker's builder tells a directory and several files apart, and puts no blank behind --chown."""
    return f" {match[1] or ''} FILES"


def _listed(file: File) -> list[Any]:
    return [file.kind, file.mode, list(file.owner), file.content, file.time]


def reference() -> dict[str, Facts]:
    """By the names of the cases."""
    return {name: Facts(**found) for name, found in json.loads(PATH.read_text()).items()}


def recorded(docker: dockerd.Dockerd, which: Iterable[Case], directory: Path) -> dict[str, Facts]:
    """Build with Debian's classic builder; ``directory`` holds the context."""
    wanted = list(which)

    def build(case: Case) -> None:
        docker.ok("build", "-q", "-t", case.tag, "-f", str(case.dockerfile), *case.options, str(directory))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(build, wanted))
    found = images(docker.docker("save", BASE, *(case.tag for case in wanted), text=False).stdout)
    docker.ok("rmi", "-f", *(case.tag for case in wanted))
    docker.ok("image", "prune", "-f")
    return {case.name: facts(found[case.tag], found[BASE]) for case in wanted}


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        state, files = Path(place) / "docker", Path(place) / "context"
        state.mkdir()
        files.mkdir()
        context.make(files)
        with dockerd.running(state) as docker:
            wanted = [case for case in cases() if not case.older and case.name in (sys.argv[1:] or [case.name])]
            found = recorded(docker, wanted, files)
    if len(sys.argv) > 1:
        found = {**reference(), **found}
    lines = [f"{json.dumps(name)}: {json.dumps(asdict(image))}" for name, image in sorted(found.items())]
    PATH.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
