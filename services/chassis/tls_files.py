"""Who a server of ours is, and whose certificates its clients must show: PEM files, read again when they change."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from chassis.errors import InvalidArgument
from chassis.logs import logger

NAMES: Final = ("tls_ca", "tls_cert", "tls_key")


class TlsFiles:
    """``protocols`` are what is offered by ALPN (RFC 7301)."""

    def __init__(self, ca: str, certificate: str, key: str, protocols: Sequence[str] = ()) -> None:
        """InvalidArgument (BAD_SETTING) names a file that is not there, or does not belong to the others."""
        self._ca, self._certificate, self._key = ca, certificate, key
        self._protocols = list(protocols)
        self._seen = self._stamp()
        self._context = self._load()

    @classmethod
    def of(cls, settings: Any, protocols: Sequence[str] = ()) -> TlsFiles | None:
        """As the settings ``tls_*`` say; None where none is given."""
        given = {name: getattr(settings, name) for name in NAMES}
        missing = [name for name, value in given.items() if not value]
        if len(missing) == len(given):
            return None
        if missing:
            raise InvalidArgument(f"{missing[0]}: TLS needs an authority, a certificate and a key",
                                  reason="BAD_SETTING", field=missing[0], expected="the path of a PEM file")
        for name, value in given.items():
            if not Path(value).is_file():
                raise InvalidArgument(f"{name}: no such file: {value}", reason="BAD_SETTING", field=name)
        return cls(given["tls_ca"], given["tls_cert"], given["tls_key"], protocols)

    def context(self) -> ssl.SSLContext:
        """For the next connection. Where new files cannot be used, the old ones' goes on, and the log says so."""
        try:
            if (stamp := self._stamp()) != self._seen:
                self._seen = stamp
                self._context = self._load()
                logger().info("certificates are read again", path=self._certificate)
        except InvalidArgument as error:
            logger().error("the certificates stay as they were", error=error.message)
        return self._context

    def prepare(self) -> Callable[[], None]:
        """Read the files; what is returned lets them count for connections from then on. InvalidArgument as for new
        ones."""
        seen, context = self._stamp(), self._load()

        def apply() -> None:
            self._seen, self._context = seen, context

        return apply

    def _stamp(self) -> tuple[tuple[int, ...], ...]:
        try:
            found = [os.stat(path) for path in (self._ca, self._certificate, self._key)]
        except OSError as error:
            raise InvalidArgument(f"{error.filename}: {error.strerror}", reason="BAD_SETTING",
                                  field="tls_cert") from error
        return tuple((each.st_mtime_ns, each.st_ino, each.st_size) for each in found)

    def _load(self) -> ssl.SSLContext:
        """TLS 1.2 at least, and no client without a certificate of the authority's."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_REQUIRED
        if self._protocols:
            context.set_alpn_protocols(self._protocols)
        try:
            context.load_verify_locations(self._ca)
            context.load_cert_chain(self._certificate, self._key)
        except (ssl.SSLError, OSError) as error:
            raise InvalidArgument(f"tls_cert: {error}", reason="BAD_SETTING", field="tls_cert",
                                  expected="PEM files that belong together") from error
        return context
