"""TLS to an engine: a plain socket at this end, and a thread that encrypts what goes through it.

Source: docker's variables and files (DOCKER_TLS_VERIFY, DOCKER_CERT_PATH with ca.pem, cert.pem and key.pem).
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import sys
import threading
from pathlib import Path
from typing import NamedTuple

sys.path.append(str(Path(__file__).parents[2] / "services"))  # bin/pier starts with the command's own root alone

from chassis.tls import Pump, run
from pier_cli.failure import Failure, Unreachable


class Files(NamedTuple):
    """PEM files, "" for none. ``verify``: the engine must show a certificate of the authority's."""

    ca: str
    cert: str
    key: str
    verify: bool


class Tunnel:
    """An encrypted connection to one engine, spoken through ``socket``. ``error`` is what broke it, "" for nothing."""

    def __init__(self, family: int, address: tuple[str, int], files: Files) -> None:
        self.error = ""
        outer = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            outer.connect(address)
            outer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            outer.close()
            raise
        inner, self.socket = socket.socketpair()
        self._pump = Pump(outer, inner, _context(files), hostname=address[0])
        try:
            run(self._pump, until_open=True)
        except (ssl.SSLError, OSError) as error:
            self._pump.close()
            raise Unreachable(f"error during connect: {_words(error)}") from None
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            run(self._pump)
        except (ssl.SSLError, OSError) as error:
            self.error = _words(error)
        finally:
            self._pump.close()


def standing(path: str) -> str:
    """``path`` where it is there, else ""."""
    return path if os.path.exists(path) else ""


def _context(files: Files) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not files.verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for path in files[:3]:
        if path and not os.path.exists(path):
            raise Failure(f"unable to resolve docker endpoint: open {path}: no such file or directory")
    try:
        if files.verify and files.ca:
            context.load_verify_locations(files.ca)
        elif files.verify:
            context.load_default_certs()
        if files.cert or files.key:
            context.load_cert_chain(files.cert, files.key)
    except (ssl.SSLError, OSError) as error:
        raise Failure(f"could not load the TLS files: {error}") from None
    return context


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"tls: failed to verify certificate: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        with contextlib.suppress(AttributeError):
            return f"tls: {(error.reason or str(error)).replace('_', ' ').lower()}"
    return str(getattr(error, "strerror", None) or error)
