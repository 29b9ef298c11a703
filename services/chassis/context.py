"""What travels with a request through every task, thread and service: its id and its trace parent.

Context variables, so that concurrent requests never see one another's; ``blocking.Pool`` carries them into threads,
``client`` into the metadata of calls.
"""

from __future__ import annotations

import re
import secrets
from contextvars import ContextVar
from typing import Final

REQUEST_ID_KEY: Final = "x-request-id"
TRACEPARENT_KEY: Final = "traceparent"

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""Id of the request being served; "" outside of any."""
traceparent: ContextVar[str] = ContextVar("traceparent", default="")
"""W3C trace context as it came ("00-<32 hex>-<16 hex>-<2 hex>"), or ""."""

_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")
_TRACEPARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)
"""https://www.w3.org/TR/trace-context/#traceparent-header: version ff and ids of nothing but zeros are invalid."""


def adopt(given_id: str | None, given_traceparent: str | None = None) -> str:
    """Set both variables for the request that begins here, and return its id.

    An id that is no word of at most 64 harmless characters is replaced by a fresh one, a malformed traceparent dropped.
    """
    value = given_id if given_id and _WORD.fullmatch(given_id) else secrets.token_hex(8)
    request_id.set(value)
    traceparent.set(given_traceparent if given_traceparent and _TRACEPARENT.fullmatch(given_traceparent) else "")
    return value
