"""What went wrong on the way to a host, in words."""

from __future__ import annotations

import os
import ssl

import aiohttp


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
