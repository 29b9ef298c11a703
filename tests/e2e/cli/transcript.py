"""The same command lines through docker and through pier: what they print, with what differs from run to run masked."""

from __future__ import annotations

import difflib
import re
import time
from dataclasses import dataclass

from tests.e2e.cli.conftest import Clients

_MASKS = (
    (r"\b[0-9a-f]{64}\b", "<ID>"),
    (r"\b[0-9a-f]{12}\b", "<SHORT>"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", "<TIME>"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? [+-]\d{4} \w+", "<TIME>"),
    (r"Less than a second|\b\d+ seconds?|About a minute|\b\d+ minutes?", "<AGO>"),
    (r'"Pid": \d+|"Pid":\d+', '"Pid": 0'),
    (r"(?<=:)\d{5}(?=->)", "<PORT>"),
    (r"(?<=^root)\s+\d+\s+\d+\s+\d+\s+\d\d:\d\d", "  <PROCESS>"),
    (r" +$", ""),
)
_OF_DOCKER = (
    (r"^docker: ", "pier: "), (r"(['\"(]|Usage:  |^\t)docker ", r"\1pier "),
    # Debian's docker has a library of older words, joins a path twice, and says that its build command is not there.
    (r"Invalid (?=containerPort|ranges)", "invalid "), (r"(?<=lstat )//", "/"),
    (r"^DEPRECATED: The legacy(.+\n)+\n", ""),
    (r"\[(NET_ADMIN|CHOWN)\]", r"[CAP_\1]"),  # docker 26's command sends them as they were written
)
# Docker's clients of different ages close their errors with different pointers to --help.
_POINTER = re.compile(r"^(See|Run) '[a-z ]+ --help'.*$", re.MULTILINE)


def mask(text: str, own: str, program: str) -> str:
    """``own`` is the part of names that differs between the two programs' runs."""
    text = text.replace(own, "NAME")
    if program == "docker":
        for pattern, shown in _OF_DOCKER:
            text = re.sub(pattern, shown, text, flags=re.MULTILINE)
    for pattern, shown in _MASKS:
        text = re.sub(pattern, shown, text, flags=re.MULTILINE)
    text = _POINTER.sub("", text)
    # Masked cells are of other widths than what stood in them: the padding after them says nothing.
    return re.sub(r"(?<=\S) {2,}", "  ", text).strip("\n")


@dataclass(frozen=True)
class Said:
    words: str
    stdout: str
    stderr: str
    code: int


def play(clients: Clients, program: str, script: list[str], own: str, feed: str = "") -> list[Said]:
    """Run each line; NAME in it is ``own``, SOON a moment to come. An argument with spaces stands between ' and '."""
    said = []
    for line in script:
        # An engine that is asked for events up to now may leave out what it has not written down yet.
        soon = str(int(time.time()) + 2)
        filled = line.replace("NAME", own).replace("SOON", soon)
        words = [word.strip("'") for word in re.findall(r"'[^']*'|\S+", filled)]
        done = clients.run(program, words, input=feed)
        said.append(
            Said(line, mask(done.stdout, own, program), mask(done.stderr, own, program), done.returncode)
        )
    return said


def same(clients: Clients, script: list[str], tag: str, feed: str = "") -> list[Said]:
    """Play the script with both and see that they say the same; pier's part is returned."""
    try:
        docker = play(clients, "docker", script, f"d{tag}", feed)
        pier = play(clients, "pier", script, f"p{tag}", feed)
    finally:
        for own in (f"d{tag}", f"p{tag}"):
            clients.run("docker", ["rm", "-f", "-v", own, f"{own}2"])
    if not clients.modern:
        # An older docker has other words for errors and other codes: what is left to compare is what programs read.
        docker, pier = [_essence(said) for said in docker], [_essence(said) for said in pier]
    pairs = [(one, other) for one, other in zip(docker, pier, strict=True) if one != other]
    differences = [line for one, other in pairs for line in _difference(one, other)]
    assert not differences, "\n" + "\n".join(differences)
    return pier


def _essence(said: Said) -> Said:
    return Said(said.words, said.stdout, "", int(said.code != 0))


def _difference(docker: Said, pier: Said) -> list[str]:
    lines = [f"$ {docker.words}"]
    for what in ("stdout", "stderr", "code"):
        one, other = str(getattr(docker, what)).splitlines(), str(getattr(pier, what)).splitlines()
        lines += difflib.unified_diff(one, other, f"docker's {what}", f"pier's {what}", lineterm="", n=1)
    return lines
