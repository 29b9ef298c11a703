"""The way to a host: this machine or another, by a proxy or not, and what went wrong on it in words."""

from __future__ import annotations

import ipaddress
import os
import ssl
import urllib.request

import aiohttp


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


def tls_reason(error: Exception) -> str:
    """What OpenSSL says of the other side, without where in its source it does."""
    cause: object = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"failed to verify certificate: {cause.verify_message}"
    return str(getattr(cause, "reason", None) or cause).lower().replace("_", " ")


def connect_reason(error: aiohttp.ClientConnectorError) -> str:
    """Why nothing was reached."""
    number = error.os_error.errno
    if number is None or number <= 0:
        return f"lookup: {error.os_error.strerror or error}"
    return f"connect: {os.strerror(number).lower()}"  # asyncio's own text is about its arguments
