"""The frames in which output of a process without a terminal comes: stream, three zeros, length, payload."""

from __future__ import annotations

from pier_cli.failure import Failure

_HEADER = 8


def take_frames(data: bytearray) -> list[tuple[int, bytes]]:
    """Whole frames at the beginning of ``data``, which loses them, as (descriptor, payload). Failure where these are no
    frames, or where one carries an error of the engine."""
    found = []
    position = 0
    while len(data) - position >= _HEADER:
        kind = data[position]
        if kind > 3 or data[position + 1: position + 4] != b"\0\0\0":
            raise Failure(f"Unrecognized input header: {kind}")
        end = position + _HEADER + int.from_bytes(data[position + 4: position + 8], "big")
        if end > len(data):
            break
        payload = bytes(data[position + _HEADER: end])
        if kind == 3:
            raise Failure(f"error from daemon in stream: {payload.decode('utf-8', 'replace')}")
        if payload:
            found.append((2 if kind == 2 else 1, payload))
        position = end
    del data[:position]
    return found
