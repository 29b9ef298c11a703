"""What a browser sends for a page that is not the engine's own is refused, on TCP: a page reaches what its reader does.

Two ways lead there. A page posts to the engine's address, and says in `Origin` where it is from (Fetch standard). Or
its own name comes to mean the engine's address (DNS rebinding): then that name stands in `Host`, while who dials plain
loopback by hand says an address, or localhost. Unix sockets are beyond a browser's reach. CVE-2018-15514, -2025-9074.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from aiohttp import hdrs

from chassis.caller import Caller
from chassis.errors import PermissionDenied

_LOCAL: Final = "localhost"


def check(headers: Mapping[str, str], who: Caller) -> None:
    """PermissionDenied (FOREIGN_PAGE, FOREIGN_HOST)."""
    if not who.address:
        return
    host, origin = headers.get(hdrs.HOST, ""), headers.get(hdrs.ORIGIN)
    if origin is not None and _authority(origin) != host.lower():
        raise PermissionDenied(f"Origin: {origin[:80]!a} is another's page", reason="FOREIGN_PAGE", field=hdrs.ORIGIN)
    if who.certificate is None and host and not _is_plain(host):
        raise PermissionDenied(f"Host: {host[:80]!a}: without TLS the engine has no name", reason="FOREIGN_HOST",
                               field=hdrs.HOST, expected="an IP address or localhost")


def _authority(origin: str) -> str:
    """"host:port" of an origin, "" for none ("null") and for what is no URL."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _is_plain(host: str) -> bool:
    """An IP address or localhost, with or without a port."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == _LOCAL or bool(ipaddress.ip_address(name))
    except ValueError:
        return False
