"""``RUN --mount=type=…,key=value``: options separated by commas, as CSV (RFC 4180) quotes them."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from typing import Any, Final

from buildd.dockerfile.instructions import Mount
from chassis.spelling import meant
from chassis.switches import switch
from coordinator.dockerfile.errors import bad, shown

Expand = Callable[[str], str]
TYPES: Final = ("bind", "cache", "tmpfs", "secret", "ssh")
_SHARING: Final = ("shared", "private", "locked")
_SAME: Final = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly", "rw": "readwrite"}
_KEYS: Final = (
    "type", "from", "source", "target", "readonly", "id", "sharing", "required", "size", "mode", "uid", "gid", "src",
    "dst", "destination", "ro", "rw", "readwrite", "env",
)
_ONLY_FOR: Final = {
    "required": ("secret", "ssh"), "size": ("tmpfs",), "mode": ("cache", "secret", "ssh"),
    "uid": ("cache", "secret", "ssh"), "gid": ("cache", "secret", "ssh"), "sharing": ("cache",), "env": ("secret",),
}
_BYTES: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kmgtp]?)(?:i?b)?", re.IGNORECASE)
_NUMBER_MAX: Final = 2**32
_SIZE_MAX: Final = 2**63


def parse(text: str, expand: Expand | None = None) -> Mount:
    """The mount that the flag's value ``text`` describes. Without ``expand``, options in which a variable stands are
    left out. InvalidArgument for an option that is none, or none of the type's, or whose value is none."""
    given, certain = dict[str, Any](), True
    for option in _options(text):
        key, equals, value = option.partition("=")
        key = key.lower()
        if key not in _KEYS:
            raise bad(f"unexpected key '{shown(key)}' in '{shown(option)}'{meant(key, _KEYS)}" if equals
                      else f"invalid field '{shown(option)}' must be a key=value pair")
        if not equals and _SAME.get(key, key) not in ("readonly", "readwrite", "required"):
            raise bad(f"invalid field '{shown(option)}' must be a key=value pair")
        if re.search(r"\$.", value):
            if key == "from":
                raise bad("'from' doesn't support variable expansion, define alias stage instead")
            if expand is None:
                certain = False
                continue
            value = expand(value)
        elif expand is not None:
            value = expand(value)
        _take(given, key, value if equals else "true")
    if certain or "type" in given:
        _check_keys(given)
    if certain:
        _check(given)
    return _mount(given, text)


def _options(text: str) -> list[str]:
    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as error:
        raise bad(f"failed to parse csv mounts: {error}") from error
    if len(rows) != 1 or not rows[0]:
        raise bad("failed to parse csv mounts: nothing is given")
    return rows[0]


def _take(given: dict[str, Any], key: str, value: str) -> None:
    name = _SAME.get(key, key)
    if name == "type":
        given[name] = _one_of(value, TYPES, "unsupported mount type")
    elif name == "sharing":
        given[name] = _one_of(value, _SHARING, "unsupported sharing value")
    elif name == "readonly":
        given["readonly"] = _switch(key, value)
    elif name == "readwrite":
        given["readonly"] = not _switch(key, value)
    elif name == "required":
        given[name] = _switch(key, value)
    elif name == "size":
        given[name] = _size(value)
    elif name in ("mode", "uid", "gid"):
        given[name] = _number(name, value)
    else:
        given[name] = value


def _one_of(value: str, options: tuple[str, ...], what: str) -> str:
    if value.lower() not in options:
        raise bad(f'{what} "{shown(value)}"{meant(value.lower(), options)}')
    return value.lower()


def _switch(key: str, value: str) -> bool:
    found = switch(value)
    if found is None:
        raise bad(f"invalid value for {key}: {shown(value)}")
    return found


def _number(name: str, value: str) -> int:
    base = 8 if name == "mode" else 10
    digits = "01234567" if base == 8 else "0123456789"
    if not value or set(value) - set(digits) or len(value) > 16 or int(value, base) >= _NUMBER_MAX:
        raise bad(f"invalid value {shown(value)} for {name}")
    return int(value, base)


def _size(value: str) -> int:
    """Bytes, by Docker's units of 1024."""
    match = _BYTES.fullmatch(value) if len(value) < 32 else None
    found = int(float(match[1]) * 1024 ** "_kmgtp".index((match[2] or "_").lower())) if match else _SIZE_MAX
    if found >= _SIZE_MAX:
        raise bad(f"invalid value for size: {shown(value)}")
    return found


def _check_keys(given: dict[str, Any]) -> None:
    kind = given.get("type", "bind")
    for key, kinds in _ONLY_FOR.items():
        if key not in given or kind in kinds:
            continue
        if key in ("mode", "uid", "gid"):
            raise bad(f'{key} not allowed for "{kind}" type mounts')
        if key == "sharing":
            raise bad("secret mount should not define sharing" if kind == "secret"
                      else f"invalid cache sharing set for {kind} mount")
        raise bad(f"unexpected key '{key}' for mount type '{kind}'")


def _check(given: dict[str, Any]) -> None:
    kind = given.get("type", "bind")
    if kind == "secret":
        if given.get("from"):
            raise bad("secret mount should not have a from")
        if not any(given.get(key) for key in ("source", "target", "id", "env")):
            raise bad("invalid secret mount. one of source, target required")
        if given.get("source") and given.get("id"):
            raise bad("both source and id can't be set")
    elif kind != "ssh" and not given.get("target", "").strip("/"):
        raise bad(f'invalid mount target "{given.get("target", "")}"')


def _mount(given: dict[str, Any], text: str) -> Mount:
    read_only = given.get("readonly")
    kind = given.get("type", "bind")
    if read_only is None:
        read_only = kind not in ("cache", "tmpfs")
    return Mount(
        kind, target=given.get("target", ""), source=given.get("source", ""), from_=given.get("from", ""),
        id=given.get("id", ""), read_only=read_only, sharing=given.get("sharing", ""),
        required=given.get("required", False), mode=given.get("mode"), uid=given.get("uid"), gid=given.get("gid"),
        size=given.get("size"), env=given.get("env", ""), text=text,
    )
