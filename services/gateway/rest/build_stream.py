"""A build's messages in the words of Docker's classic builder, step after step.

Steps of independent stages are carried out at the same time; they are told in the order of the Dockerfile, so what a
later one says is held back until those before it have ended, up to a bound: then it is told at once, under its head.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import Any, Final

from gateway.rest.progress import Message, bar, short_digest
from pier.build.v1 import build_pb2 as pb

_HELD_MAX: Final = 1 << 20
_SHORT: Final = 12
_STDERR: Final = 2
_RED, _PLAIN = "\x1b[91m", "\x1b[0m"


class Step:
    """What is known of one step. ``held`` are messages that wait for their turn, ``size`` their characters."""

    def __init__(self, step: pb.Step) -> None:
        self.step = step
        self.held: list[Message] = []
        self.size = 0
        self.begun = self.ended = self.shown = False
        self.container = ""
        self.decoders = {stream: codecs.getincrementaldecoder("utf-8")("replace") for stream in (1, 2)}
        self.rest = ""


class ClassicStream:
    """``of`` turns each of buildd's messages into those that Docker sends, in their order."""

    def __init__(self) -> None:
        self._order: list[Step] = []
        self._steps: dict[int, Step] = {}
        self._last = 0

    def of(self, message: pb.BuildResponse) -> Iterator[Message]:
        match message.WhichOneof("event"):
            case "plan":
                self._plan(message.plan)
            case "begin":
                yield from self._told(message.begin.id, self._begin(message.begin))
            case "log":
                yield from self._told(message.log.id, self._log(message.log))
            case "progress":
                yield from self._told(message.progress.id, [_transfer(message.progress)])
            case "end":
                yield from self._told(message.end.id, self._end(message.end))
            case "warning":
                warning = message.warning
                yield _text(f" ---> [Warning] {warning.rule}: {warning.message} (line {warning.first_line})\n"
                            if warning.rule else f"[Warning] {warning.message}\n")

    def _plan(self, plan: pb.Plan) -> None:
        """Told again where a base image brings more steps: what is known of the others stays."""
        for step in plan.steps:
            self._steps.setdefault(step.id, Step(step))
        self._order = [self._steps[step.id] for step in plan.steps]

    def _begin(self, begin: pb.StepBegin) -> list[Message]:
        step = self._steps[begin.id]
        step.begun = True
        if not begin.container_id:
            return []
        step.container = begin.container_id[:_SHORT]
        return [_text(f" ---> Running in {step.container}\n")]

    def _log(self, log: pb.StepLog) -> list[Message]:
        step = self._steps[log.id]
        text = step.decoders[_STDERR if log.stream == _STDERR else 1].decode(log.data)
        if log.stream != _STDERR:
            return [_text(text)] if text else []
        *lines, step.rest = (step.rest + text).split("\n")
        return [_text(f"{_RED}{line}\n{_PLAIN}") for line in lines]

    def _end(self, end: pb.StepEnd) -> list[Message]:
        step = self._steps[end.id]
        step.ended = True
        made = [_text(f"{_RED}{step.rest}{_PLAIN}")] if step.rest else []
        if step.container:
            made.append(_text(f" ---> Removed intermediate container {step.container}\n"))
        if end.cached and not end.image_id and step.step.number > 1:
            made.append(_text(" ---> Using cache\n"))
        made.append(_text(f" ---> {short_digest(end.image_id or end.cache_key)}\n"))
        return made

    def _told(self, id_: int, messages: list[Message]) -> Iterator[Message]:
        """What can be told now: of the first steps that have not ended, and of one that holds too much."""
        mine = self._steps[id_]
        mine.held += messages
        mine.size += sum(len(message.get("stream", "")) for message in messages)
        for step in self._order:
            if step.begun:
                yield from self._shown(step)
            if not step.ended:
                break
        if mine.size > _HELD_MAX:
            yield from self._shown(mine)

    def _shown(self, step: Step) -> Iterator[Message]:
        number = self._order.index(step) + 1
        if not step.shown or (step.held and self._last != number):
            yield _text(f"Step {number}/{len(self._order)} : {step.step.instruction}")
            yield _text("\n")
            step.shown, self._last = True, number
        yield from step.held
        step.held, step.size = [], 0


def quiet(result: pb.BuildEnd) -> list[Message]:
    """All that a quiet build says."""
    return [_text(f"{result.image.id}\n")]


def finished(result: pb.BuildEnd, tags: list[str]) -> list[Message]:
    """How a build ends well; one that made no image says nothing."""
    if not result.image.id:
        return []
    made = [{"aux": {"ID": result.image.id}}, _text(f"Successfully built {short_digest(result.image.id)}\n")]
    return made + [_text(f"Successfully tagged {tag}\n") for tag in tags]


def failed(message: str, code: int) -> Message:
    """How one ends that has begun. ``code``: the failed command's, 0 for none."""
    detail: dict[str, Any] = {"code": code, "message": message} if code else {"message": message}
    return {"errorDetail": detail, "error": message}


def _transfer(progress: pb.StepProgress) -> Message:
    what, _, digest = progress.subject.rpartition(" ")
    message: Message = {"status": what.capitalize() or "Fetching", "progressDetail": {}, "id": short_digest(digest)}
    if progress.total:
        message["progressDetail"] = {"current": progress.current, "total": progress.total}
        message["progress"] = bar(progress.current, progress.total)
    return message


def _text(text: str) -> Message:
    return {"stream": text}
