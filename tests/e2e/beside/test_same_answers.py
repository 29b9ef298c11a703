"""Pier and Debian's dockerd answer the same, but for what docs/answers.md lists with its reason."""

from __future__ import annotations

import re
import time
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests import tools
from tests.e2e.beside import requests
from tests.e2e.beside.recorder import Recorder, differences
from tests.e2e.wire import Answer, Wire

FIRST = "docker"
MEASURED = "20.10"
LIST = tools.PROJECT / "docs" / "answers.md"


def listed() -> list[str]:
    """Names of the differences, which may hold ``*``, from the tables' first cells."""
    return re.findall(r"^\| `([^`]+)`", LIST.read_text(), re.MULTILINE)


def recorded(socket: Path | str) -> dict[str, Answer]:
    ask, began = Recorder(Wire(socket)), int(time.time())
    for part in requests.ALL:
        part(ask)
    requests.told(ask, began, int(time.time()) + 1)
    return ask.said


def test_each_difference_from_dockers_answers_is_listed_and_each_listed_one_is_there(both):
    peer = both.docker.ok("version", "--format", "{{.Server.Version}}")
    if not peer.startswith(f"{MEASURED}."):
        pytest.skip(f"{LIST.name} tells what differs from docker.io {MEASURED}, and this Debian's is {peer}")
    found = differences(recorded(both.docker.host.removeprefix("unix://")), recorded(both.pier.instance.api_socket))
    names = listed()
    unlisted = [f"{name}: {text}" for name, text in found.items()
                if not any(fnmatchcase(name, pattern.replace("[]", "[[]]")) for pattern in names)]
    vanished = [pattern for pattern in names
                if not any(fnmatchcase(name, pattern.replace("[]", "[[]]")) for name in found)]
    assert not unlisted, f"{len(unlisted)} differences:\n" + "\n".join(unlisted)
    assert not vanished, "listed, and no difference any more: " + ", ".join(vanished)
