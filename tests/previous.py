"""The previous version's services, and a launcher that runs some of them beside today's.

The previous version is the last tag ``v*`` behind this commit, else the commit in ``deploy/previous``;
PIER_TEST_PREVIOUS names another. Its source is taken from the clone's history.

As a program, ``python -m tests.previous SOURCE MARKS [LAUNCHER'S ARGUMENTS…]``, it is the launcher: a service runs from
``SOURCE/services`` as long as there is a file of its name in MARKS, and from today's otherwise.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from chassis.instance import SERVICES, Instance, instance
from launcher import __main__ as launcher
from launcher import control
from launcher.programs import Program, programs
from tests.engine import Engine, up
from tests.leaks import Kept
from tests.tools import PROJECT

# exec keeps the process's id: the listening sockets are meant for it.
_CHOICE: Final = """
if [ -e "$0/$1" ]; then export PYTHONPATH="$2/services" PYTHONPYCACHEPREFIX="$2/compiled"; fi
shift 2; exec "$@"
"""
_FILE: Final = PROJECT / "deploy" / "previous"


def commit() -> str:
    """Of the previous version; "" where this clone's history does not have it."""
    wanted = os.environ.get("PIER_TEST_PREVIOUS") or _git("describe", "--tags", "--abbrev=0", "--match=v*", "HEAD^")
    wanted = wanted or _FILE.read_text().splitlines()[-1]
    return _git("rev-parse", "--verify", "--quiet", f"{wanted}^{{commit}}")


def unpack(commit: str, directory: Path) -> None:
    """Its services, into ``directory``."""
    archive = subprocess.run([*_command(), "archive", commit, "services"], capture_output=True, check=True, timeout=60)
    subprocess.run(["tar", "-x", "-C", directory], input=archive.stdout, check=True, timeout=60)


def _git(*words: str) -> str:
    done = subprocess.run([*_command(), *words], capture_output=True, text=True, check=False, timeout=60)
    return done.stdout.strip() if done.returncode == 0 else ""


def _command() -> list[str]:
    return ["git", "-C", str(PROJECT), "-c", "safe.directory=*"]  # the clone may be another user's


class Mixed(Engine):
    """An engine of which services named in ``old`` are the previous version's."""

    def __init__(self, name: str, directory: Path, source: Path, old: tuple[str, ...]) -> None:
        super().__init__(instance(name, directory / "root", Path("/run") / f"pier-{name}"))
        self._source, self._marks = source, directory / "old"
        self._marks.mkdir()
        self._launcher: subprocess.Popen[bytes] | None = None
        for service in old:
            (self._marks / service).touch()

    def up(self) -> None:
        log = self.instance.root / "log" / "launcher.log"
        log.parent.mkdir(parents=True)
        with log.open("ab") as output:
            self._launcher = subprocess.Popen(
                [sys.executable, "-m", "tests.previous", self._source, self._marks, "--instance", self.instance.name,
                 "--root", self.instance.root, "--run", self.instance.run],
                env=self.service_environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        while control.launcher_pid(self.instance) is None:
            assert self._launcher.poll() is None, log.read_text()
        super().up()

    def kept(self) -> list[Kept]:
        return [*super().kept(), Kept("processes", r"python: .*/services/imaged/helpers/zygote\.py")]

    def down(self) -> None:
        super().down()
        if self._launcher is not None:
            self._launcher.wait(60)

    def upgrade(self, service: str) -> None:
        """From now on it is today's."""
        (self._marks / service).unlink()
        self.kill(service)
        self.wait_supervised()


@contextmanager
def running(name: str, directory: Path, source: Path, *old: str) -> Iterator[Mixed]:
    """An engine whose ``old`` services are those in ``source``, as ``tests.engine.running`` has one."""
    engine = Mixed(name, directory, source, old)
    with up(engine):
        yield engine


def _chosen(program: Program, source: str, marks: str) -> Program:
    if program.name not in SERVICES:
        return program
    return dataclasses.replace(
        program, argv=("/bin/sh", "-c", _CHOICE, marks, program.name, source, *program.argv))


def _main(source: str, marks: str, *arguments: str) -> int:
    def chosen(instance: Instance, config: str | None) -> tuple[Program, ...]:
        return tuple(_chosen(program, source, marks) for program in programs(instance, config))

    vars(launcher)["programs"] = chosen  # in place of what it has imported
    sys.argv = ["launcher", *arguments]
    return launcher.main()


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
