"""A small server on a unix socket that answers with bytes given beforehand, and keeps what it was sent."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Answer = bytes | Callable[[socket.socket, bytes], None]


class Server:
    """Each connection takes the next answer for each request head it sends; a callable answers by itself."""

    def __init__(self, path: Path, answers: list[Answer]) -> None:
        self.host = f"unix://{path}"
        self.requests: list[bytes] = []
        self.connections = 0
        self._answers = list(answers)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._listener.close()

    def _serve(self) -> None:
        while self._answers:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with connection:
                self._converse(connection)

    def _converse(self, connection: socket.socket) -> None:
        held = b""
        while self._answers:
            while b"\r\n\r\n" not in held:
                data = connection.recv(65536)
                if not data:
                    return
                held += data
            head, _, held = held.partition(b"\r\n\r\n")
            fields = [line.lower().split(b":") for line in head.split(b"\r\n")]
            length = next((int(field[1]) for field in fields if field[0] == b"content-length"), 0)
            while len(held) < length:
                held += connection.recv(65536)
            self.requests.append(head + b"\r\n\r\n" + held[:length])
            held = held[length:]
            answer = self._answers.pop(0)
            if callable(answer):
                answer(connection, held)
                return
            connection.sendall(answer)
            if b"Connection: close" in answer:
                return


@contextmanager
def serving(path: Path, *answers: Answer) -> Iterator[Server]:
    server = Server(path, list(answers))
    try:
        yield server
    finally:
        server.close()


def json_answer(body: str, status: str = "200 OK", extra: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body.encode())}\r\n{extra}\r\n"
    return (head + body).encode()


PING = b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 0\r\n\r\n"
