"""JSON by the standard library's C code alone: importing ``json`` costs 8 ms, most of it ``re``."""

from __future__ import annotations

import _json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _Scanning:
    """What the C scanner asks its context for."""

    strict = False
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float
    memo: dict[str, str] = {}  # noqa: RUF012 - never written: the scanner makes its own


_SPACE = " \t\r\n"


def _refuse(value: object) -> object:
    raise TypeError(f"{type(value).__name__} has no JSON form")


_scan = _json.make_scanner(_Scanning)  # type: ignore[arg-type]  # the stub wants json.JSONDecoder; its attributes do
_compact = _json.make_encoder(None, _refuse, _json.encode_basestring, None, ":", ",", False, False, True)
_sorted = _json.make_encoder(None, _refuse, _json.encode_basestring, None, ":", ",", True, False, True)


def _scanned(text: str) -> tuple[Any, int]:
    """The first value, and where it ends. ValueError where there is none that is whole."""
    try:
        return _scan(text, 0)
    except (StopIteration, RecursionError, ValueError, SystemError):
        # What it says of where depends on Python's version; 3.11 takes its JSONDecodeError from json.decoder, and fails
        # with the last where nobody has imported that.
        raise ValueError("not JSON") from None


def loads(data: str | bytes) -> Any:
    """The value of one JSON text. ValueError where it is none."""
    text = data if isinstance(data, str) else data.decode("utf-8", "replace")
    text = text.strip(_SPACE)
    value, end = _scanned(text)
    if end != len(text):
        raise ValueError("trailing data after JSON")
    return value


def first(text: str) -> tuple[Any, str]:
    """The first value in ``text`` and what follows it. ValueError where none is complete."""
    text = text.lstrip(_SPACE)
    value, end = _scanned(text)
    return value, text[end:]


def dumps(value: object, sort: bool = False) -> str:
    """``value`` without spaces, characters as they are, as Go writes it without HTML escaping."""
    return "".join((_sorted if sort else _compact)(value, 0))


def escape_html(text: str) -> str:
    """JSON as Go's default encoder writes it."""
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def indented(raw: str, prefix: str = "", step: str = "    ") -> str:
    """The JSON text ``raw`` with line breaks, its numbers and escapes untouched (Go's json.Indent)."""
    out: list[str] = []
    depth = 0
    quoted = escaped = False
    opened = ""
    for char in raw:
        if quoted:
            out.append(char)
            if escaped:
                escaped = False
            elif char == "\\":
                escaped = True
            elif char == '"':
                quoted = False
            continue
        if char in _SPACE:
            continue
        if opened:
            if char in "}]":
                depth -= 1
                out.append(opened + char)
                opened = ""
                continue
            out.append(opened + "\n" + prefix + step * depth)
            opened = ""
        if char in "{[":
            depth += 1
            opened = char
        elif char in "}]":
            depth -= 1
            out.append("\n" + prefix + step * depth + char)
        elif char == ",":
            out.append(",\n" + prefix + step * depth)
        elif char == ":":
            out.append(": ")
        else:
            quoted = char == '"'
            out.append(char)
    return "".join(out)
