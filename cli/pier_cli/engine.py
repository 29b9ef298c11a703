"""The engine at the other end: where it is, which API version is spoken, and the calls on it."""

from __future__ import annotations

import _socket

from pier_cli.codec import dumps, loads
from pier_cli.failure import Failure, Unreachable
from pier_cli.http import Connection, Response

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from pier_cli.tls import Files

    Query = Iterable[tuple[str, str]]

API_VERSION = "1.51"
"""The newest version of the Engine API that this command speaks."""
_OLDEST = "1.24"
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_IN_PATHS = _UNRESERVED | frozenset(b"/:@")


def quote(text: str, plain: frozenset[int] = _IN_PATHS) -> str:
    """``text`` percent-encoded for a path."""
    data = text.encode("utf-8", "surrogateescape")
    return "".join(chr(byte) if byte in plain else f"%{byte:02X}" for byte in data)


def encode_query(pairs: Query) -> str:
    return "&".join(f"{quote(name, _UNRESERVED)}={quote(value, _UNRESERVED)}" for name, value in pairs)


def version_key(text: str) -> tuple[int, ...]:
    """For comparing API versions: "1.9" is below "1.24"."""
    return tuple(int(part) if part.isdigit() else 0 for part in text.split("."))


def parse_host(host: str, default_port: str = "2375") -> tuple[int, str | tuple[str, int]]:
    """Address family and address of ``unix://PATH`` or ``tcp://HOST:PORT``."""
    scheme, separator, rest = host.partition("://")
    if not separator:
        # docker reads a bare path as a socket's and anything else as a TCP address.
        scheme, rest = ("unix", host) if host.startswith("/") else ("tcp", host)
    if scheme == "unix" and rest:
        return _socket.AF_UNIX, rest
    if scheme == "tcp":
        name, colon, port = rest.rstrip("/").rpartition(":")
        if not colon:
            name, port = port, default_port
        if port.isascii() and port.isdigit() and int(port) < 65536:
            if name.startswith("["):
                return _socket.AF_INET6, (name.strip("[]"), int(port))
            return _socket.AF_INET, (name or "127.0.0.1", int(port))
    raise Failure(f"unable to parse docker host `{host}`")


def _authority(address: str | tuple[str, int]) -> str:
    """What stands in `Host`: the address where there is one, since an engine on plain TCP answers to no name."""
    if isinstance(address, str):
        return "pier"
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Engine:
    """Calls to one engine. The API version is agreed on with the first of them."""

    def __init__(self, host: str, version: str = "", files: Files | None = None, traceparent: str = "") -> None:
        """``files``: TLS is spoken where ``host`` is a TCP address. ``traceparent`` (W3C) goes with every request."""
        self.host = host
        self._by_ssh = host.startswith("ssh://")
        self._family, self._address = (0, "") if self._by_ssh else parse_host(
            host, "2376" if files is not None else "2375")
        self._authority = _authority(self._address)
        self._files = files
        self._version = version
        self._traceparent = traceparent
        self._idle: Connection | None = None
        self.meanwhile: Callable[[], object] | None = None
        """Done once, while the engine works on the next POST: what the command needs afterwards is imported then."""

    @property
    def version(self) -> str:
        if not self._version:
            response = self._exchange("HEAD", "/_ping", {}, None)
            if response.status != 200:
                response = self._exchange("GET", "/_ping", {}, None).check()
                response.read()
            self._keep(response)
            theirs = response.headers.get("api-version", _OLDEST)
            self._version = min(theirs, API_VERSION, key=version_key)
        return self._version

    def at_least(self, version: str) -> bool:
        return version_key(self.version) >= version_key(version)

    def request(
        self,
        method: str,
        path: str,
        query: Query = (),
        body: bytes | Callable[[], bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        beside: bool = False,
    ) -> Response:
        """The answer to a request, errors raised. The caller reads the body, or closes the connection. ``beside``: the
        request's body is sent while the answer is read."""
        text = encode_query(query)
        target = f"/v{self.version}{path}" + (f"?{text}" if text else "")
        return self._exchange(method, target, headers or {}, body, beside=beside).check()

    def call(
        self, method: str, path: str, query: Query = (), body: object = None, headers: Mapping[str, str] | None = None
    ) -> Any:
        """The JSON value that a request is answered with (None for no content); ``body`` is sent as JSON."""
        raw = self.call_raw(method, path, query, body, headers)
        return loads(raw) if raw.strip() else None

    def call_raw(
        self, method: str, path: str, query: Query = (), body: object = None, headers: Mapping[str, str] | None = None
    ) -> str:
        data = None
        fields = dict(headers or {})
        if body is not None:
            data = to_bytes(body)
            fields["Content-Type"] = "application/json"
        response = self.request(method, path, query, data, fields)
        raw = response.read()
        self._keep(response)
        return raw.decode("utf-8", "replace")

    def hijack(self, path: str, query: Query = (), body: object = None) -> Connection:
        """A connection of its own, upgraded to a raw stream."""
        headers = {"Connection": "Upgrade", "Upgrade": "tcp"}
        data = None
        if body is not None:
            data = to_bytes(body)
            headers["Content-Type"] = "application/json"
        response = self.request("POST", path, query, data, headers)
        if not response.hijacked:
            response.connection.close()
            raise Failure(f"unable to upgrade to tcp, received {response.status}")
        return response.connection

    def _exchange(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | Callable[[], bytes] | None, *,
        beside: bool = False,
    ) -> Response:
        fields = {"Host": self._authority, "User-Agent": "pier", **headers}
        if self._traceparent:
            fields["traceparent"] = self._traceparent
        connection, self._idle = self._idle, None
        if connection is None:
            connection = self.connect()
        meanwhile = None
        if method == "POST":
            meanwhile, self.meanwhile = self.meanwhile, None
        return connection.request(method, target, fields, body, meanwhile, beside=beside)

    def _keep(self, response: Response) -> None:
        connection = response.connection
        if response.status != 101 and (connection.reusable or _is_bodiless(response)):
            self._idle = connection
        else:
            connection.close()

    def connect(self) -> Connection:
        """A connection of the caller's own."""
        if self._by_ssh:
            from pier_cli import ssh

            return Connection.over(ssh.dial(self.host))
        try:
            return Connection(self._family, self._address, self._files)
        except PermissionError as error:
            raise Unreachable(
                f"permission denied while trying to connect to the engine at {self.host}: {error.strerror}"
            ) from None
        except OSError as error:
            if self._family == _socket.AF_UNIX and len(str(self._address)) > 107:
                raise Unreachable(f"cannot connect to the engine at {self.host}: the path is too long") from None
            raise Unreachable(
                f"Cannot connect to the engine at {self.host}: {error.strerror or error}. Is the engine running?"
            ) from None


def _is_bodiless(response: Response) -> bool:
    list(response.blocks())  # HEAD, 204, 304: nothing is read, the connection is free again
    return response.connection.reusable


def to_bytes(body: object) -> bytes:
    """``body`` as JSON; bytes of the command line that are no UTF-8 become U+FFFD, as Go makes them."""
    return dumps(body).encode("utf-8", "surrogateescape").decode("utf-8", "replace").encode()
