"""The syslog driver: RFC 3164, RFC 5424, and the form that a local /dev/log expects, as Docker writes them.

Sources: RFC 3164 section 4, RFC 5424 section 6, RFC 5425 section 4.3 (octet counting over TLS), moby's syslog driver.
"""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from chassis.errors import InvalidArgument
from execd.logs.destination import Address, Datagrams, Stream, parse_address
from execd.logs.record import Record

OPTIONS: Final = frozenset({
    "syslog-address", "syslog-facility", "syslog-format", "syslog-tls-ca-cert", "syslog-tls-cert", "syslog-tls-key",
    "syslog-tls-skip-verify",
})
FACILITIES: Final = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
)
_LOCALS: Final = {f"local{number}": 16 + number for number in range(8)}
_DAEMON: Final = 3
_FORMATS: Final = ("", "rfc3164", "rfc5424", "rfc5424micro")
_SEVERITY: Final = {1: 6, 2: 3}
"""Informational for standard output, error for standard error."""
_PORT: Final = 514
_LOCAL: Final = ("/dev/log", "/var/run/syslog", "/var/run/log")


@dataclass(frozen=True)
class Settings:
    """``address`` None is the host's own syslog."""

    address: Address | None
    facility: int
    form: str
    ca: str
    certificate: str
    key: str
    verify: bool


def settings(options: Mapping[str, str]) -> Settings:
    """InvalidArgument (BAD_LOG_OPTION) names the option."""
    address = None
    if text := options.get("syslog-address"):
        try:
            address = parse_address(text, ("udp", "tcp", "tcp+tls", "unix", "unixgram"), _PORT)
        except ValueError as error:
            raise _bad(f"syslog-address: {error}", "udp://host:port, tcp://, tcp+tls:// or unix:///path") from None
    form = options.get("syslog-format", "")
    if form not in _FORMATS:
        raise _bad(f"Invalid syslog format: {form[:40]!a}", ", ".join(_FORMATS[1:]))
    skip = options.get("syslog-tls-skip-verify", "") not in ("", "false", "0")
    ca, certificate, key = (options.get(f"syslog-tls-{name}", "") for name in ("ca-cert", "cert", "key"))
    if bool(certificate) != bool(key):
        raise _bad("syslog-tls-cert and syslog-tls-key need each other", "both or none")
    return Settings(address, _facility(options.get("syslog-facility", "")), form, ca, certificate, key, not skip)


def check_files(settings_: Settings) -> None:
    """InvalidArgument (BAD_LOG_OPTION) where a certificate or key cannot be used."""
    if _is_tls(settings_):
        try:
            _context(settings_)
        except OSError as error:  # ssl.SSLError is one
            raise _bad(f"syslog-tls: {error}", "readable PEM files of this node") from None


def _facility(text: str) -> int:
    if not text:
        return _DAEMON
    if text in FACILITIES:
        return FACILITIES.index(text)
    if text in _LOCALS:
        return _LOCALS[text]
    if text.isascii() and text.isdigit() and int(text) <= 23:
        return int(text)
    raise _bad("invalid syslog facility", f"{', '.join(FACILITIES)}, local0 to local7, or 0 to 23")


def message(record: Record, settings_: Settings, hostname: str, tag: str) -> bytes:
    """One record, ended by a newline, framed as its transport wants it."""
    priority = settings_.facility * 8 + _SEVERITY[record.stream]
    pid, seconds = os.getpid(), record.time // 10**9
    if settings_.form.startswith("rfc5424"):
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        if settings_.form == "rfc5424micro":
            stamp += f".{record.time % 10**9 // 1000:06d}"
        head = f"<{priority}>1 {stamp}Z {hostname} {tag} {pid} {tag} - "
    else:
        local = time.localtime(seconds)
        stamp = f"{time.strftime('%b', local)} {local.tm_mday:2d} {time.strftime('%H:%M:%S', local)}"
        host = f"{hostname} " if settings_.form else ""
        head = f"<{priority}>{stamp} {host}{tag}[{pid}]: "
    data = head.encode("utf-8", "surrogateescape") + record.data.removesuffix(b"\n") + b"\n"
    counted = settings_.form.startswith("rfc5424") and _is_tls(settings_)
    return f"{len(data)} ".encode() + data if counted else data


class Syslog:
    """The destination."""

    def __init__(self, settings_: Settings, tag: str) -> None:
        self._settings = settings_
        self._tag = tag
        self._hostname = socket.gethostname()
        self._out: Stream | Datagrams | None = None

    async def open(self) -> None:
        address = self._settings.address
        if address is None:
            self._out = await _local()
            return
        if address.scheme in ("udp", "unixgram"):
            self._out = Datagrams(address)
        elif address.scheme == "unix":
            self._out = await _unix(address)
            return
        else:
            self._out = Stream(address, _context(self._settings) if _is_tls(self._settings) else None)
        await self._out.open()

    async def send(self, records: Sequence[Record]) -> None:
        assert self._out is not None
        messages = [message(record, self._settings, self._hostname, self._tag) for record in records]
        if isinstance(self._out, Stream):
            await self._out.write(b"".join(messages))
            return
        for one in messages:
            await self._out.write(one)

    def close(self) -> None:
        if self._out is not None:
            self._out.close()


async def _local() -> Stream | Datagrams:
    """The first of the usual sockets that somebody listens on."""
    problem = OSError("this host has no syslog: none of " + ", ".join(_LOCAL))
    for path in _LOCAL:
        if os.path.exists(path):
            try:
                return await _unix(Address("unix", path=path))
            except OSError as error:
                problem = error
    raise problem


async def _unix(address: Address) -> Stream | Datagrams:
    """A path does not say which kind of socket it is: datagrams are tried first, as libc does."""
    out: Stream | Datagrams = Datagrams(address)
    try:
        await out.open()
    except OSError:
        out.close()
        out = Stream(address)
        await out.open()
    return out


def _is_tls(settings_: Settings) -> bool:
    return settings_.address is not None and settings_.address.scheme == "tcp+tls"


def _context(settings_: Settings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings_.ca or None)
    if not settings_.verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if settings_.certificate:
        context.load_cert_chain(settings_.certificate, settings_.key)
    return context


def _bad(text: str, expected: str) -> InvalidArgument:
    return InvalidArgument(text, reason="BAD_LOG_OPTION", field="spec.log.options", expected=expected)
