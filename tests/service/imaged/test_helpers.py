"""Helpers forked from the zygote: their answers, their errors, and that none is left behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from chassis import programs
from chassis.errors import Internal, NotFound
from imaged.helpers.helpers import Helpers
from tests.service.imaged.served import children


@pytest.fixture
async def helpers() -> AsyncIterator[Helpers]:
    made = Helpers()
    made.start()
    yield made
    await made.close()


def hashing(directory: Path, source: str) -> dict[str, Any]:
    """A request of imaged.files for the digest of a file."""
    place = directory / "place"
    place.mkdir(exist_ok=True)
    tree = directory / "tree"
    tree.mkdir(exist_ok=True)
    return {
        "verb": "hash", "source": {"layers": [str(tree), str(place)]}, "target": None, "options": [],
        "place": str(place), "empty": str(place), "parents": False,
        "files": {"sources": [source], "exclude": [], "ignore": [], "literal": True},
    }


async def digest(helpers: Helpers, request: dict[str, Any]) -> str:
    async with helpers.running("files", request) as helper:
        told = await helper.stdout.read()
        await programs.finished(helper, "hash")
    return str(json.loads(told)["digest"])


async def test_a_helper_answers_and_what_it_fails_with_is_raised(helpers: Helpers, tmp_path: Path) -> None:
    request = hashing(tmp_path, "file")
    with pytest.raises(NotFound, match="no such file"):
        await digest(helpers, request)
    (tmp_path / "tree" / "file").write_text("content")
    first, second = await asyncio.gather(digest(helpers, request), digest(helpers, request))
    assert first == second


async def test_a_zygote_that_was_killed_is_started_again(helpers: Helpers, tmp_path: Path) -> None:
    request = hashing(tmp_path, "file")
    (tmp_path / "tree" / "file").write_text("content")
    before = await digest(helpers, request)
    os.kill(helpers.pid, signal.SIGKILL)
    assert await digest(helpers, request) == before


async def test_a_helper_has_ended_when_its_caller_is_cancelled(helpers: Helpers, tmp_path: Path) -> None:
    request = hashing(tmp_path, "endless")
    with (tmp_path / "tree" / "endless").open("wb") as file:
        file.truncate(1 << 40)
    work = asyncio.create_task(digest(helpers, request))
    while not children(helpers.pid):
        await asyncio.sleep(0)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert children(helpers.pid) == []


async def test_a_helper_that_is_killed_is_an_error_of_ours(helpers: Helpers, tmp_path: Path) -> None:
    request = hashing(tmp_path, "endless")
    with (tmp_path / "tree" / "endless").open("wb") as file:
        file.truncate(1 << 40)
    async with helpers.running("files", request) as helper:
        (child,) = children(helpers.pid)
        os.kill(child, signal.SIGKILL)
        with pytest.raises(Internal, match="the program failed"):
            await programs.finished(helper, "hash")
