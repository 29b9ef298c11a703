"""The ssh agent protocol as far as it is handed on (draft-miller-ssh-agent): requests for identities and signatures.

A message is its length (four bytes, big-endian) and as many bytes, of which the first says what it is. Whatever would
change an agent, or is an extension of somebody's, is not handed on, as with BuildKit: neither by a client that is
asked for its agent nor by an engine that asks.
"""

from __future__ import annotations

import struct
from typing import Final

HEAD: Final = struct.Struct(">I")
LONGEST: Final = 256 << 10
"""Bytes of a message, OpenSSH's own limit."""
FAILURE: Final = b"\x05"
"""SSH_AGENT_FAILURE."""
REQUEST_IDENTITIES: Final = 11
SIGN_REQUEST: Final = 13


def is_handed_on(message: bytes) -> bool:
    """Whether a request may reach an agent."""
    return 0 < len(message) <= LONGEST and (
        message[0] == SIGN_REQUEST or message == bytes([REQUEST_IDENTITIES]))


def framed(message: bytes) -> bytes:
    """An answer as it is sent: FAILURE in the place of one that is none."""
    whole = message if 0 < len(message) <= LONGEST else FAILURE
    return HEAD.pack(len(whole)) + whole
