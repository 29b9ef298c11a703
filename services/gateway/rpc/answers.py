"""Mutating calls by their ``operation_id``: the same again joins the one that runs, or gets what that one answered.

Answers, errors among them, are remembered while the gateway lives, the last 4,096 or 16 MiB of them. Unavailable and
DeadlineExceeded are not: such a call is repeated because it may go better.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar, cast

from google.protobuf.message import Message

from chassis import ids
from chassis.errors import AlreadyExists, DeadlineExceeded, PierError, Unavailable
from chassis.operations import Operations

T = TypeVar("T", bound=Message)

_KEPT: Final = 4096
_KEPT_BYTES: Final = 16 << 20


class Answers:
    """Of one face. The work is ``operations``': a caller who leaves cancels nothing."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self._known: dict[str, tuple[bytes, Message | PierError]] = {}
        self._bytes = 0
        self._calls = itertools.count()

    async def once(self, verb: str, request: Any, work: Callable[[], Awaitable[T]]) -> T:
        """What ``work`` answers to ``request``, whose `operation_id` may be empty. AlreadyExists (SPEC_DIFFERS) where
        another request has that word; InvalidArgument (BAD_ID) for a word that is none."""
        if not request.operation_id:
            return await self._operations.run(f"engine.{verb}#{next(self._calls)}", b"", work)
        word = ids.key(request.operation_id, "operation_id")
        fingerprint = hashlib.sha256(
            verb.encode() + b"\0" + request.SerializeToString(deterministic=True)).digest()
        if (known := self._known.get(word)) is not None:
            return cast(T, _again(word, fingerprint, *known))

        async def remembered() -> T:
            try:
                answer = await work()
            except (Unavailable, DeadlineExceeded):
                raise
            except PierError as error:
                self._remember(word, fingerprint, error)
                raise
            self._remember(word, fingerprint, answer)
            return answer

        return await self._operations.run(f"engine:{word}", fingerprint, remembered)

    def _remember(self, word: str, fingerprint: bytes, answer: Message | PierError) -> None:
        self._known[word] = (fingerprint, answer)
        self._bytes += _size(answer)
        while len(self._known) > _KEPT or self._bytes > _KEPT_BYTES:
            _, oldest = self._known.pop(next(iter(self._known)))
            self._bytes -= _size(oldest)


def _size(answer: Message | PierError) -> int:
    return len(answer.message) if isinstance(answer, PierError) else answer.ByteSize()


def _again(word: str, fingerprint: bytes, known: bytes, answer: Message | PierError) -> Message:
    if known != fingerprint:
        raise AlreadyExists(f"operation_id: another request was made under {word}", reason="SPEC_DIFFERS",
                            field="operation_id")
    if isinstance(answer, PierError):
        raise answer.with_traceback(None)
    return answer


def made_id(kind: str, operation_id: str) -> str:
    """The id of what an operation makes: the same for the same word, a fresh one for none."""
    if not operation_id:
        return ids.new_id()
    word = ids.key(operation_id, "operation_id")
    return hashlib.sha256(f"pier.engine.v1.{kind}:{word}".encode()).hexdigest()
