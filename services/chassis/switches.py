"""Truth as Go's programs spell it (strconv.ParseBool)."""

from __future__ import annotations

from typing import Final

_SPELLINGS: Final = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}


def switch(text: str) -> bool | None:
    """None for what is neither."""
    return _SPELLINGS.get(text)
