"""Calls by their operation_id: done once, answered again, however many ask and whoever leaves."""

from __future__ import annotations

import asyncio

import pytest

from chassis.errors import AlreadyExists, Conflict, InvalidArgument, Unavailable
from chassis.operations import Operations
from gateway.rpc import answers
from gateway.rpc.answers import Answers, made_id
from pier.engine.v1 import container_pb2 as pb


class Work:
    """Counts how often it is done; fails as it is told."""

    def __init__(self, error: Exception | None = None) -> None:
        self.done = 0
        self.error = error
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self) -> pb.KillContainerResponse:
        self.done += 1
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return pb.KillContainerResponse()


def asked(word: str = "", container: str = "web") -> pb.KillContainerRequest:
    return pb.KillContainerRequest(operation_id=word, container=container)


async def test_the_same_word_is_done_once_and_none_each_time() -> None:
    known, work = Answers(Operations()), Work()
    for _ in range(3):
        await known.once("Kill", asked("a"), work)
    assert work.done == 1
    for _ in range(3):
        await known.once("Kill", asked(), work)
    assert work.done == 4


async def test_who_asks_meanwhile_joins_and_who_leaves_cancels_nothing() -> None:
    known, work = Answers(Operations()), Work()
    work.gate.clear()
    leaving = asyncio.create_task(known.once("Kill", asked("a"), work))
    staying = asyncio.create_task(known.once("Kill", asked("a"), work))
    while not work.done:
        await asyncio.sleep(0)
    leaving.cancel()
    work.gate.set()
    await staying
    await known.once("Kill", asked("a"), work)
    assert work.done == 1


async def test_another_request_under_a_word_is_refused() -> None:
    known = Answers(Operations())
    await known.once("Kill", asked("a"), Work())
    for verb, container in (("Kill", "other"), ("Stop", "web")):
        with pytest.raises(AlreadyExists) as caught:
            await known.once(verb, asked("a", container), Work())
        assert (caught.value.reason, caught.value.field) == ("SPEC_DIFFERS", "operation_id")


async def test_an_error_is_an_answer_unless_it_may_go_better() -> None:
    known, refused, away = Answers(Operations()), Work(Conflict("no")), Work(Unavailable("away"))
    for _ in range(2):
        with pytest.raises(Conflict):
            await known.once("Kill", asked("a"), refused)
        with pytest.raises(Unavailable):
            await known.once("Kill", asked("b"), away)
    assert (refused.done, away.done) == (1, 2)


async def test_a_word_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        await Answers(Operations()).once("Kill", asked("a word"), Work())
    with pytest.raises(InvalidArgument):
        made_id("container", "a/b")


@pytest.mark.parametrize("limit", ["_KEPT", "_KEPT_BYTES"])
async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(answers, limit, 3)
    known = Answers(Operations())
    for number in range(20):
        await known.once("Kill", asked(f"w{number}"), Work())
        with pytest.raises(Conflict):
            await known.once("Kill", asked(f"e{number}"), Work(Conflict("x" * 2)))
    assert len(known._known) <= 4
    assert known._bytes <= 6


def test_an_id_is_its_words_alone() -> None:
    assert made_id("container", "a") == made_id("container", "a")
    assert len({made_id("container", "a"), made_id("exec", "a"), made_id("container", "b"), made_id("exec", ""),
                made_id("exec", "")}) == 5
