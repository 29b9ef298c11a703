"""libnftables in this process: one context, atomic batches, no fork.

A batch is one nftables transaction: all of it or nothing. Text in nft's own syntax is for the fixed schema, JSON for
elements and listings: libnftables 1.0.6 cannot declare a map of address and port in JSON (it makes a set of it without
an error, and crashes on the first rule that uses it; tried).

Blocks for 0.1 to 2 ms: call it from a worker thread. Source: libnftables(3), libnftables-json(5).
"""

from __future__ import annotations

import ctypes
import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from chassis.errors import Internal, Unavailable

LIBRARY: Final = "libnftables.so.1"
_OUTPUT_JSON: Final = 1 << 4
_OUTPUT_WORDS: Final = 1 << 2 | 1 << 3 | 1 << 11
"""Without counters' state, with handles, without the elements of sets."""
_NETLINK_NETFILTER: Final = "12"

JsonObject = dict[str, Any]


class NftError(Internal):
    """The kernel or libnftables refused a batch; nothing of it was carried out."""

    default_reason = "NFT_REFUSED"


class Nft:
    """A libnftables context in the network namespace of the thread that makes it. Calls exclude one another."""

    def __init__(self, *, words: bool = False) -> None:
        """``words``: listings are in nft's own syntax, with handles and without the elements of sets."""
        try:
            self._library = ctypes.CDLL(LIBRARY)
        except OSError as error:
            raise Unavailable(
                f"{LIBRARY} cannot be loaded ({error}): install Debian's libnftables1", reason="NO_LIBNFTABLES"
            ) from error
        lib = self._library
        lib.nft_ctx_new.restype = ctypes.c_void_p
        lib.nft_ctx_get_output_buffer.restype = ctypes.c_char_p
        lib.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
        self._context = ctypes.c_void_p(lib.nft_ctx_new(ctypes.c_uint32(0)))
        if self._context.value is None:
            raise Unavailable("libnftables gives no context", reason="NO_LIBNFTABLES")
        lib.nft_ctx_buffer_output(self._context)
        lib.nft_ctx_buffer_error(self._context)
        lib.nft_ctx_output_set_flags(self._context, ctypes.c_uint(_OUTPUT_WORDS if words else _OUTPUT_JSON))
        self._lock = threading.Lock()

    def close(self) -> None:
        with self._lock:
            if self._context.value is not None:
                self._library.nft_ctx_free(self._context)
                self._context = ctypes.c_void_p(None)

    def run_text(self, commands: str) -> str:
        """One batch in nft's syntax; returns the output (JSON where a listing was asked for). Raises NftError."""
        with self._lock:
            if self._context.value is None:
                raise NftError("the nft context is closed")
            failed = self._library.nft_run_cmd_from_buffer(self._context, ctypes.c_char_p(commands.encode()))
            output = (self._library.nft_ctx_get_output_buffer(self._context) or b"").decode(errors="replace")
            errors = (self._library.nft_ctx_get_error_buffer(self._context) or b"").decode(errors="replace")
        if failed:
            raise NftError(f"nft: {' '.join(errors.split())[:500] or 'refused without a word'}")
        return str(output)

    def run(self, commands: Sequence[JsonObject]) -> None:
        """One batch of JSON commands. Raises NftError."""
        if commands:
            self.run_text(json.dumps({"nftables": list(commands)}))

    def list(self, what: str) -> list[JsonObject]:
        """``list WHAT`` ("table inet pier", "chains") as libnftables-json objects, without the meta information."""
        output = self.run_text(f"list {what}")
        found: list[JsonObject] = json.loads(output)["nftables"] if output.strip() else []
        return [item for item in found if "metainfo" not in item]


def own_ports() -> frozenset[int]:
    """The netlink port numbers of this process's netfilter sockets in the calling thread's network namespace."""
    inodes = set()
    for fd in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[len("socket:["):-1])
    # Columns: sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode
    rows = (line.split() for line in Path("/proc/thread-self/net/netlink").read_text().splitlines()[1:])
    return frozenset(int(row[2]) for row in rows if row[1] == _NETLINK_NETFILTER and row[9] in inodes)
