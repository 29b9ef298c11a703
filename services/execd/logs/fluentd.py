"""The fluentd driver: the forward protocol, version 1, in messages of Docker's fields.

Source: https://github.com/fluent/fluentd/wiki/Forward-Protocol-Specification-v1
"""

from __future__ import annotations

import asyncio
import base64
import os
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from chassis.errors import InvalidArgument
from execd.logs.destination import TIMEOUT, Address, Stream, parse_address
from execd.logs.record import Record

OPTIONS: Final = frozenset({
    "fluentd-address", "fluentd-async", "fluentd-async-connect", "fluentd-async-reconnect-interval",
    "fluentd-buffer-limit", "fluentd-max-retries", "fluentd-request-ack", "fluentd-retry-wait",
    "fluentd-sub-second-precision", "fluentd-write-timeout",
})
_REFUSED: Final[Mapping[str, str]] = {
    "fluentd-async-connect": "it is called fluentd-async now",
    "fluentd-async-reconnect-interval": "a connection is kept, and made anew when it breaks",
    "fluentd-buffer-limit": "what waits is bounded by cache-max-size and cache-max-file, or max-buffer-size",
    "fluentd-max-retries": "it is tried until the log's retention ends",
    "fluentd-retry-wait": "retries have a back-off of their own",
    "fluentd-write-timeout": "it is 10 seconds",
}
"""Options that exist in Docker and have no counterpart, and why: a set one must not be ignored."""
_PORT: Final = 24224
_EVENT_TIME: Final = 0
_encode: Final = msgspec.msgpack.Encoder().encode


@dataclass(frozen=True)
class Settings:
    address: Address
    acknowledged: bool
    precise: bool


def settings(options: Mapping[str, str]) -> Settings:
    """InvalidArgument (BAD_LOG_OPTION) names the option."""
    for name, why in _REFUSED.items():
        if options.get(name):
            raise _bad(f"{name} is not supported: {why}", "not given")
    text = options.get("fluentd-address") or f"tcp://127.0.0.1:{_PORT}"
    try:
        address = parse_address(text if "://" in text else f"tcp://{text}", ("tcp", "tls", "unix"), _PORT)
    except ValueError as error:
        raise _bad(f"fluentd-address: {error}", "tcp://host:port, tls://host:port or unix:///path") from None
    flags = {}
    for name in ("fluentd-async", "fluentd-request-ack", "fluentd-sub-second-precision"):
        if options.get(name, "") not in ("", "true", "false", "1", "0"):
            raise _bad(f"{name}: no boolean", "true or false")
        flags[name] = options.get(name, "") in ("true", "1")
    return Settings(address, flags["fluentd-request-ack"], flags["fluentd-sub-second-precision"])


class Fluentd:
    """The destination. ``facts`` is what every record carries: the container's id and name, its attributes."""

    def __init__(self, settings_: Settings, tag: str, facts: Mapping[str, str]) -> None:
        self._settings = settings_
        self._tag = tag
        self._facts = facts
        tls = ssl.create_default_context() if settings_.address.scheme == "tls" else None
        self._out = Stream(settings_.address, tls)
        self._decoder = msgspec.msgpack.Decoder()

    async def open(self) -> None:
        await self._out.open()

    async def send(self, records: Sequence[Record]) -> None:
        """In forward mode: one message of many entries."""
        entries = [(self._time(record), self._fields(record)) for record in records]
        option: dict[str, object] = {"size": len(entries)}
        chunk = base64.b64encode(os.urandom(16)).decode()
        if self._settings.acknowledged:
            option["chunk"] = chunk
        await self._out.write(_encode((self._tag, entries, option)))
        if self._settings.acknowledged:
            await self._acknowledged(chunk)

    def close(self) -> None:
        self._out.close()

    def _fields(self, record: Record) -> dict[str, str]:
        fields = {
            **self._facts, "source": "stderr" if record.stream == 2 else "stdout",
            "log": record.data.removesuffix(b"\n").decode("utf-8", "replace"),
        }
        if not record.data.endswith(b"\n"):
            fields["partial_message"] = "true"
        return fields

    def _time(self, record: Record) -> object:
        seconds, rest = divmod(record.time, 10**9)
        if not self._settings.precise:
            return seconds
        return msgspec.msgpack.Ext(_EVENT_TIME, seconds.to_bytes(4, "big") + rest.to_bytes(4, "big"))

    async def _acknowledged(self, chunk: str) -> None:
        data = b""
        async with asyncio.timeout(TIMEOUT):
            while True:
                piece = await self._out.reader.read(4096)
                if not piece:
                    raise ConnectionResetError("fluentd has closed the connection without an ack")
                data += piece
                try:
                    answer = self._decoder.decode(data)
                except msgspec.DecodeError as error:
                    if len(data) > 4096:
                        raise ConnectionResetError("fluentd answers no ack") from error
                    continue
                if isinstance(answer, dict) and answer.get("ack") == chunk:
                    return
                raise ConnectionResetError("fluentd acknowledges another chunk")


def facts(container_id: str, name: str, attributes: Mapping[str, str]) -> dict[str, str]:
    """Docker's fields beside those of the record."""
    return {"container_id": container_id, "container_name": f"/{name}", **attributes}


def _bad(text: str, expected: str) -> InvalidArgument:
    return InvalidArgument(text, reason="BAD_LOG_OPTION", field="spec.log.options", expected=expected)


