"""Request bodies: strict JSON, keys in any case, null like absent, and a word for what is wrong and where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from gateway.rest.errors import bad

LIMIT: Final = 4 << 20
"""Bytes of a JSON body."""


def decode(data: bytes) -> Fields:
    """The JSON object in ``data``. 400 for what is none, or for more than one value."""
    try:
        document = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if "trailing" in str(error):
            raise bad("unexpected content after JSON") from error
        raise bad(f"invalid JSON: {error}") from error
    if document is None:
        return Fields({})
    if not isinstance(document, dict):
        raise bad("invalid JSON: not an object")
    return Fields(document)


class Fields:
    """One JSON object. ``where`` is its path, "HostConfig.LogConfig", for messages."""

    def __init__(self, document: Mapping[str, Any], where: str = "") -> None:
        self.document = document
        self.where = where
        # The last of several spellings of a key wins, as in Go.
        self._keys = {key.lower(): value for key, value in document.items()}

    def path(self, key: str) -> str:
        return f"{self.where}.{key}" if self.where else key

    def __contains__(self, key: str) -> bool:
        """The key is there, and not null."""
        return self._keys.get(key.lower()) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self.document)

    def raw(self, key: str) -> Any:
        return self._keys.get(key.lower())

    def text(self, key: str, default: str = "") -> str:
        return default if (value := self.raw(key)) is None else as_text(value, self.path(key))

    def integer(self, key: str, default: int = 0) -> int:
        return default if (value := self.raw(key)) is None else as_integer(value, self.path(key))

    def optional_integer(self, key: str) -> int | None:
        return None if (value := self.raw(key)) is None else as_integer(value, self.path(key))

    def boolean(self, key: str, default: bool = False) -> bool:
        return default if (value := self.raw(key)) is None else as_boolean(value, self.path(key))

    def strings(self, key: str) -> list[str]:
        """A list of strings; null is the empty one."""
        return as_strings(self.raw(key), self.path(key))

    def optional_strings(self, key: str) -> list[str] | None:
        return None if self.raw(key) is None else self.strings(key)

    def words(self, key: str) -> list[str] | None:
        """A list of strings, or one string as a list of one; None where not given."""
        value = self.raw(key)
        return [value] if isinstance(value, str) else self.optional_strings(key)

    def object(self, key: str) -> Fields:
        """An object; null is the empty one."""
        return as_fields(self.raw(key), self.path(key))

    def objects(self, key: str) -> list[Fields]:
        return [as_fields(value, self.path(key)) for value in as_list(self.raw(key), self.path(key))]

    def string_map(self, key: str) -> dict[str, str]:
        """A map of strings to strings; a null value is the empty string."""
        inner = self.object(key)
        return {name: inner.text_of(name) for name in inner}

    def text_of(self, key: str) -> str:
        """As ``text``, by the key's exact spelling."""
        value = self.document[key]
        return "" if value is None else as_text(value, self.path(key))


def as_text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise _wrong(value, where, "string")
    return value


def as_integer(value: Any, where: str) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not -(1 << 63) <= value < 1 << 63:
        raise _wrong(value, where, "integer of 64 bits")
    return value


def as_boolean(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong(value, where, "boolean")
    return value


def as_list(value: Any, where: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise _wrong(value, where, "list")
    return value


def as_strings(value: Any, where: str) -> list[str]:
    return [as_text(entry, where) for entry in as_list(value, where)]


def as_fields(value: Any, where: str) -> Fields:
    if value is None:
        return Fields({}, where)
    if not isinstance(value, dict):
        raise _wrong(value, where, "object")
    return Fields(value, where)


def _wrong(value: Any, where: str, expected: str) -> Exception:
    kind = {dict: "object", list: "array", str: "string", bool: "bool", int: "number", float: "number"}
    return bad(
        f"invalid JSON: cannot unmarshal {kind.get(type(value), 'null')} into {where} of type {expected}",
        field=where, expected=expected,
    )
