"""HTTP/1.1 as the Engine API needs it, on a raw socket: ``http.client`` costs 35 ms to import, this one nothing.

One ``Connection`` carries one request at a time. A ``Response`` is read whole, in pieces, or, after a 101 (or a 200
with neither length nor chunks), is the raw stream of a hijacked connection: then ``Connection.socket`` is the caller's,
and ``Connection.buffer`` holds what came glued to the head.
"""

from __future__ import annotations

import _socket

from pier_cli.failure import EngineError, Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pier_cli.tls import Files, Tunnel

_BLOCK = 65536
_MAX_HEAD = 65536


class Broken(Failure):
    """The connection ended in the middle of an answer, or what came is not HTTP."""


class Connection:
    """One connection to ``family``/``address``, by TLS where ``files`` are given. OSError where nothing answers."""

    def __init__(self, family: int, address: str | tuple[str, int], files: Files | None = None) -> None:
        self.buffer = b""
        self.reusable = False
        self._tunnel: Tunnel | None = None
        if files is not None and not isinstance(address, str):
            from pier_cli.tls import Tunnel

            self._tunnel = Tunnel(family, address, files)
            self.socket: _socket.socket = self._tunnel.socket
            return
        self.socket = _socket.socket(family, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        try:
            self.socket.connect(address)
            if family != _socket.AF_UNIX:
                self.socket.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        except OSError:
            self.socket.close()
            raise

    @classmethod
    def over(cls, opened: _socket.socket) -> Connection:
        """One that stands already."""
        made = cls.__new__(cls)
        made.buffer, made.reusable, made._tunnel, made.socket = b"", False, None, opened
        return made

    def close(self) -> None:
        self.socket.close()

    def __del__(self) -> None:
        if hasattr(self, "socket"):
            self.socket.close()

    def send(self, data: bytes) -> None:
        # A peer that has gone must be read to its last word, not end this process by SIGPIPE.
        self.socket.sendall(data, _socket.MSG_NOSIGNAL)

    def request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | Callable[[], bytes] | None = None,
        meanwhile: Callable[[], object] | None = None,
        *,
        beside: bool = False,
    ) -> Response:
        """Send a request and read the head of its answer. ``body`` may be a function that gives blocks, b"" at the end:
        it is sent in chunks, while an early answer is already taken in. ``meanwhile`` is done once it is sent. With
        ``beside`` a thread goes on sending it while the answer is read."""
        self.reusable = False
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        if callable(body):
            lines.append("Transfer-Encoding: chunked")
        elif body is not None or method == "POST":
            lines.append(f"Content-Length: {len(body or b'')}")
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")
        try:
            if callable(body):
                self.send(head)
                if beside:
                    self._send_beside(body)
                else:
                    self._send_chunks(body)
            else:
                self.send(head + (body or b""))
        except (BrokenPipeError, ConnectionResetError):
            pass  # it may have answered before it went: what it said counts
        if meanwhile is not None:
            meanwhile()
        return self.response(method)

    def response(self, method: str = "GET") -> Response:
        """The head of the next answer."""
        while True:
            head = self._head()
            lines = head.decode("latin-1").split("\r\n")
            version, _, rest = lines[0].partition(" ")
            status_text, _, _ = rest.partition(" ")
            if not version.startswith("HTTP/1.") or not status_text.isdigit():
                raise Broken(f"malformed HTTP response: {lines[0][:80]!r}")
            status = int(status_text)
            fields = {}
            for text in lines[1:]:
                name, _, value = text.partition(":")
                fields[name.strip().lower()] = value.strip()
            if status != 100:
                return Response(self, method, status, fields)

    def fill(self) -> bool:
        """Read more into the buffer; False at the end of the stream."""
        try:
            data = self.socket.recv(_BLOCK)
        except ConnectionResetError:
            data = b""
        self.buffer += data
        return bool(data)

    def _head(self) -> bytes:
        while True:
            end = self.buffer.find(b"\r\n\r\n")
            if end >= 0:
                head = self.buffer[:end]
                self.buffer = self.buffer[end + 4:]
                return head
            if len(self.buffer) > _MAX_HEAD:
                raise Broken("malformed HTTP response: the head does not end")
            if not self.fill():
                why = self._tunnel.error if self._tunnel is not None else ""
                raise Broken(why or "the engine closed the connection without an answer")

    def _send_beside(self, body: Callable[[], bytes]) -> None:
        import threading

        def send() -> None:
            block = b"begin"
            try:
                while block:
                    block = body()
                    self.send(f"{len(block):x}\r\n".encode() + block + b"\r\n")
            except OSError:
                pass  # it has answered before it went: what it said counts

        threading.Thread(target=send, daemon=True).start()

    def _send_chunks(self, body: Callable[[], bytes]) -> None:
        import select

        poll = select.poll()
        poll.register(self.socket.fileno(), select.POLLIN | select.POLLOUT)
        while True:
            block = body()
            pending = memoryview(f"{len(block):x}\r\n".encode() + block + b"\r\n")
            while pending:
                ((_, events),) = poll.poll()
                if events & select.POLLIN and not self.fill():
                    return
                if events & (select.POLLERR | select.POLLHUP):
                    return
                if events & select.POLLOUT:
                    try:
                        sent = self.socket.send(pending, _socket.MSG_NOSIGNAL | _socket.MSG_DONTWAIT)
                    except BlockingIOError:
                        continue
                    pending = pending[sent:]
            if not block:
                return


class Response:
    """The answer to one request; ``headers`` have lower-case names."""

    def __init__(self, connection: Connection, method: str, status: int, headers: dict[str, str]) -> None:
        self.connection = connection
        self.status = status
        self.headers = headers
        self._chunked = "chunked" in headers.get("transfer-encoding", "").lower()
        length = headers.get("content-length", "")
        self._left = int(length) if length.isdigit() else -1
        if method == "HEAD" or status in (204, 304):
            self._chunked, self._left = False, 0
        self._keep = headers.get("connection", "").lower() != "close"

    @property
    def hijacked(self) -> bool:
        """Whether the connection is a raw stream from here on."""
        return self.status == 101 or (self.status == 200 and not self._chunked and self._left < 0)

    def blocks(self) -> Iterator[bytes]:
        """The body as it comes, in pieces of no meaning."""
        if self._chunked:
            yield from self._chunks()
        else:
            yield from self._plain()
        self.connection.reusable = self._keep

    def read(self) -> bytes:
        return b"".join(self.blocks())

    def objects(self) -> Iterator[dict[str, object]]:
        """The JSON objects of a streamed body, each as soon as it is complete."""
        from pier_cli.codec import first

        text = ""
        held = b""
        for block in self.blocks():
            held += block
            # A block may end within a character: what is not whole yet waits for the next.
            cut = len(held)
            while cut > 0 and cut > len(held) - 4 and held[cut - 1] & 0xC0 == 0x80:
                cut -= 1
            if cut > 0 and held[cut - 1] >= 0xC0:
                needed = 2 if held[cut - 1] < 0xE0 else 3 if held[cut - 1] < 0xF0 else 4
                cut = cut - 1 if len(held) - (cut - 1) < needed else len(held)
            else:
                cut = len(held)
            text += held[:cut].decode("utf-8", "replace")
            held = held[cut:]
            while text.lstrip("\r\n\t "):
                try:
                    value, text = first(text)
                except ValueError:
                    break
                if isinstance(value, dict):
                    yield value
        if text.strip("\r\n\t ") or held:
            raise Broken("unexpected end of JSON input")

    def check(self) -> Response:
        """This response, unless it is an error: then EngineError with the engine's message."""
        if self.status < 400:
            return self
        raw = self.read().decode("utf-8", "replace")
        message = raw.strip()
        if self.headers.get("content-type", "").startswith("application/json"):
            from pier_cli.codec import loads

            try:
                message = str(loads(raw)["message"]).strip()
            except (ValueError, KeyError, TypeError):
                pass
        raise EngineError(self.status, message or f"HTTP status {self.status}")

    def _plain(self) -> Iterator[bytes]:
        connection = self.connection
        while self._left != 0:
            if not connection.buffer and not connection.fill():
                if self._left > 0:
                    raise Broken("unexpected EOF")
                self._keep = False
                return
            data = connection.buffer
            if 0 < self._left < len(data):
                data = data[: self._left]
            connection.buffer = connection.buffer[len(data):]
            if self._left > 0:
                self._left -= len(data)
            yield data

    def _line(self) -> bytes:
        connection = self.connection
        while True:
            end = connection.buffer.find(b"\r\n")
            if end >= 0:
                line = connection.buffer[:end]
                connection.buffer = connection.buffer[end + 2:]
                return line
            if len(connection.buffer) > _MAX_HEAD or not connection.fill():
                raise Broken("unexpected EOF")

    def _chunks(self) -> Iterator[bytes]:
        connection = self.connection
        while True:
            size_text = self._line().partition(b";")[0].strip()
            try:
                left = int(size_text, 16)
            except ValueError:
                raise Broken("malformed chunked encoding") from None
            if left <= 0:
                while self._line():
                    pass  # trailers
                return
            while left:
                if not connection.buffer and not connection.fill():
                    raise Broken("unexpected EOF")
                data = connection.buffer[:left]
                connection.buffer = connection.buffer[len(data):]
                left -= len(data)
                yield data
            if self._line():
                raise Broken("malformed chunked encoding")
