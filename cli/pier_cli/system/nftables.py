"""libnftables, as far as the operator's commands need it: one batch of commands, or one listing. Source:
libnftables(3)."""

from __future__ import annotations

import ctypes
import json
from typing import Any, Final

_LIBRARY: Final = "libnftables.so.1"
_JSON: Final = 1 << 4


def run(commands: str) -> str:
    """What ``commands`` print, as JSON. OSError where the library or the kernel refuses."""
    library = ctypes.CDLL(_LIBRARY)
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_get_output_buffer.restype = ctypes.c_char_p
    library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
    context = ctypes.c_void_p(library.nft_ctx_new(ctypes.c_uint32(0)))
    if context.value is None:
        raise OSError("libnftables gives no context")
    try:
        library.nft_ctx_buffer_output(context)
        library.nft_ctx_buffer_error(context)
        library.nft_ctx_output_set_flags(context, ctypes.c_uint(_JSON))
        failed = library.nft_run_cmd_from_buffer(context, ctypes.c_char_p(commands.encode()))
        if failed:
            said = (library.nft_ctx_get_error_buffer(context) or b"").decode(errors="replace")
            raise OSError(" ".join(said.split()) or "nft refused without a word")
        return (library.nft_ctx_get_output_buffer(context) or b"").decode(errors="replace")
    finally:
        library.nft_ctx_free(context)


def listing(what: str) -> list[tuple[str, Any]]:
    """``list WHAT``: kind ("table", "chain") and body of each thing."""
    output = run(f"list {what}")
    items = json.loads(output)["nftables"] if output.strip() else []
    return [pair for item in items for pair in item.items()]
