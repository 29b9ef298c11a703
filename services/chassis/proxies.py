"""The way to a host: this machine or another, by a proxy or not."""

from __future__ import annotations

import ipaddress
import urllib.request
from urllib.parse import urlsplit


def is_loopback(domain: str) -> bool:
    """Whether the host of ``domain`` (with or without a port) is this machine."""
    host = domain[1 : domain.index("]")] if domain.startswith("[") else domain.partition(":")[0]
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def proxy(scheme: str, host: str) -> str | None:
    """The proxy that the environment names (HTTPS_PROXY, NO_PROXY, …); never one for this machine."""
    if is_loopback(host) or urllib.request.proxy_bypass_environment(host):  # type: ignore[attr-defined]
        return None
    return urllib.request.getproxies_environment().get(scheme)


def proxy_of(url: str) -> str | None:
    """The same for the host of a URL."""
    parts = urlsplit(url)
    return proxy(parts.scheme, parts.hostname or "")
