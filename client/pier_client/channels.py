"""Where an engine, or one of its services, is reached: its unix socket, or TCP with a client certificate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc

DEFAULT: Final = "unix:///run/pier/engine.sock"
OPTIONS: Final = (
    # A restarted engine is found again within these milliseconds. (The least back-off stays as it is: gRPC takes it for
    # the time that a connection may take, too.)
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.max_receive_message_length", 8 << 20),
    ("grpc.max_send_message_length", 8 << 20),
    ("grpc.keepalive_time_ms", 60_000),
)


@dataclass(frozen=True)
class Tls:
    """PEM files: the authority of the engine's certificate, and our own certificate and key. ``name`` is the name that
    the engine's certificate must have where that is not the address that is dialled."""

    ca: Path | str
    certificate: Path | str
    key: Path | str
    name: str = ""


def target_of(address: str) -> str:
    """gRPC's spelling of ``unix:///PATH`` or ``tcp://HOST:PORT``. ValueError for another."""
    scheme, separator, rest = address.partition("://")
    if not separator or scheme not in ("unix", "tcp") or not rest:
        raise ValueError(f"{address!r} is no address: expected unix:///PATH or tcp://HOST:PORT")
    return f"unix:{rest}" if scheme == "unix" else rest


def channel(address: str = DEFAULT, tls: Tls | None = None) -> grpc.Channel:
    """A channel for stubs of any of Pier's contracts."""
    if tls is None:
        return grpc.insecure_channel(target_of(address), options=OPTIONS)
    return grpc.secure_channel(target_of(address), _credentials(tls), options=_options(tls))


def aio_channel(address: str = DEFAULT, tls: Tls | None = None) -> grpc.aio.Channel:
    """The same for asyncio."""
    if tls is None:
        return grpc.aio.insecure_channel(target_of(address), options=OPTIONS)
    return grpc.aio.secure_channel(target_of(address), _credentials(tls), options=_options(tls))


def _credentials(tls: Tls) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        Path(tls.ca).read_bytes(), Path(tls.key).read_bytes(), Path(tls.certificate).read_bytes())


def _options(tls: Tls) -> tuple[tuple[str, Any], ...]:
    return (*OPTIONS, ("grpc.ssl_target_name_override", tls.name)) if tls.name else OPTIONS
