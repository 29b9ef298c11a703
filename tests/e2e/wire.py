"""The Engine API by hand, over a unix socket: whole answers by ``Wire.call``, and connections byte by byte."""

from __future__ import annotations

import http.client
import json
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

WITHIN: Final = 30.0  # seconds that an answer, or its next piece, may take
_JSON: Final = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Answer:
    """``headers`` are by lower-case name; ``body`` is whole, and empty in an answer whose body is a stream."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        """What an error says."""
        return str(self.json["message"])

    @property
    def objects(self) -> list[Any]:
        """The JSON values of a stream, one a line."""
        return [json.loads(line) for line in self.body.splitlines() if line]


class Connection:
    """One connection, whose bytes are the caller's business."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(WITHIN)
        self._socket.connect(str(path))
        self._held = b""

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def request(self, line: str, body: bytes = b"", *, headers: Mapping[str, str] | None = None, upgrade: bool = False,
                glued: bytes = b"") -> None:
        """Send ``METHOD /path`` with ``body``; ``glued`` follows in the same packet, as a hijacked stream's input."""
        fields = {"Host": "docker", "Content-Length": str(len(body)), **(headers or {})}
        if body and "Content-Type" not in fields:
            fields |= _JSON
        if upgrade:
            fields |= {"Connection": "Upgrade", "Upgrade": "tcp"}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self.send(f"{line} HTTP/1.1\r\n{head}\r\n".encode() + body + glued)

    def finish_input(self) -> None:
        """Half-close: no more input, output is still read."""
        self._socket.shutdown(socket.SHUT_WR)

    def head(self) -> Answer:
        """The answer's status and headers; its body is left to be read."""
        status, *lines = self.until(b"\r\n\r\n").decode().split("\r\n")[:-2]
        fields = dict(line.split(": ", 1) for line in lines)
        return Answer(int(status.split(" ")[1]), {name.lower(): value for name, value in fields.items()})

    def until(self, end: bytes) -> bytes:
        while end not in self._held:
            data = self._socket.recv(1 << 16)
            assert data, f"ended before {end!r}: {self._held!r}"
            self._held += data
        found, _, self._held = self._held.partition(end)
        return found + end

    def exactly(self, size: int) -> bytes:
        while len(self._held) < size:
            data = self._socket.recv(1 << 16)
            assert data, f"ended after {len(self._held)} of {size} bytes"
            self._held += data
        found, self._held = self._held[:size], self._held[size:]
        return found

    def frame(self) -> tuple[int, bytes]:
        """(stream, payload) of the next frame of a multiplexed stream."""
        kind, size = struct.unpack(">BxxxL", self.exactly(8))
        return kind, self.exactly(size)

    def rest(self) -> bytes:
        """Everything up to the other side's end."""
        while data := self._socket.recv(1 << 16):
            self._held += data
        found, self._held = self._held, b""
        return found

    def chunk(self) -> bytes:
        """The next chunk of a chunked body; empty at its end."""
        size = int(self.until(b"\r\n"), 16)
        data = self.exactly(size)
        assert self.exactly(2) == b"\r\n"
        return data

    def close(self) -> None:
        self._socket.close()


class Wire:
    """An engine's socket."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request and its whole answer; a ``body`` that is not bytes is sent as JSON. ``_`` in headers is ``-``."""
        connection = http.client.HTTPConnection("docker", timeout=WITHIN)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(WITHIN)
        try:
            connection.sock.connect(str(self.path))
            fields = {name.replace("_", "-"): value for name, value in headers.items()}
            if body is not None and not isinstance(body, bytes):
                body, fields = json.dumps(body).encode(), {**_JSON, **fields}
            connection.request(method, path, body, fields)
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        """The JSON at ``path``."""
        answer = self.call("GET", path)
        assert answer.status == 200, answer
        return answer.json

    def post(self, path: str, body: Any = None, status: int | tuple[int, ...] = (200, 201, 204)) -> Answer:
        """A POST whose answer has one of the statuses."""
        answer = self.call("POST", path, body)
        assert answer.status in (status if isinstance(status, tuple) else (status,)), answer
        return answer

    def create(self, name: str = "", query: str = "", **config: Any) -> str:
        """A container of busybox; its id."""
        named = f"&name={name}" if name else ""
        return str(self.post(f"/containers/create?{query}{named}", {"Image": "busybox", **config}, 201).json["Id"])

    def run(self, script: str, name: str = "", **config: Any) -> str:
        """A container that runs ``script`` in a shell; its id."""
        id_ = self.create(name, Cmd=["sh", "-c", script], **config)
        self.post(f"/containers/{id_}/start")
        return id_

    @contextmanager
    def connected(self) -> Iterator[Connection]:
        connection = Connection(self.path)
        try:
            yield connection
        finally:
            connection.close()


def frames(data: bytes) -> list[tuple[int, bytes]]:
    """The frames of a multiplexed stream that has ended."""
    found = []
    while data:
        kind, size = struct.unpack(">BxxxL", data[:8])
        assert len(data) >= 8 + size, "a frame is cut"
        found.append((kind, data[8 : 8 + size]))
        data = data[8 + size :]
    return found
