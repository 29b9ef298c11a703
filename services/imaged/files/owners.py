"""Who files are to belong to: ``--chown``, resolved by the files of the tree that they are copied into.

No program and no library of that tree runs: /etc/passwd and /etc/group are read as text, and a bounded part of it.
"""

from __future__ import annotations

import os
import re
from typing import Final

from chassis.errors import InvalidArgument
from imaged.files.roots import Root

_FILE_MAX: Final = 8 << 20
_ID_MAX: Final = 2**31 - 1
_NUMBER: Final = re.compile(r"[0-9]{1,20}")


def resolve(root: Root, text: str) -> tuple[int, int]:
    """(uid, gid) of "user", "uid", "user:group" and so on; "" is 0:0. A user alone stands with its own group: the
    file's for a name, the same number for a number. InvalidArgument (NO_SUCH_USER, NO_SUCH_GROUP, BAD_OWNER)."""
    user, colon, group = text.partition(":")
    uid = gid = 0
    if user:
        uid, gid = _user(root, user)
    if colon and group:
        gid = _group(root, group)
    return uid, gid


def _number(text: str) -> int | None:
    if not _NUMBER.fullmatch(text):
        return None
    if int(text) > _ID_MAX:
        raise InvalidArgument(f"chown: the id {text} is out of range", reason="BAD_OWNER", field="chown",
                              expected=f"0 to {_ID_MAX}")
    return int(text)


def _user(root: Root, name: str) -> tuple[int, int]:
    number = _number(name)
    if number is not None:
        return number, number
    for fields in _lines(root, b"/etc/passwd", 4):
        if fields[0] == os.fsencode(name):
            return _id(fields[2]), _id(fields[3])
    shown = ascii(name[:80])[1:-1]
    raise InvalidArgument(f"chown: can't find uid for user {shown}: no such user: {shown}", reason="NO_SUCH_USER",
                          field="chown", expected="a number, or a user of the target's /etc/passwd")


def _group(root: Root, name: str) -> int:
    number = _number(name)
    if number is not None:
        return number
    for fields in _lines(root, b"/etc/group", 3):
        if fields[0] == os.fsencode(name):
            return _id(fields[2])
    shown = ascii(name[:80])[1:-1]
    raise InvalidArgument(f"chown: can't find gid for group {shown}: no such group: {shown}", reason="NO_SUCH_GROUP",
                          field="chown", expected="a number, or a group of the target's /etc/group")


def _id(raw: bytes) -> int:
    found = _number(raw.decode("ascii", "replace"))
    if found is None:
        raise InvalidArgument("chown: the target's /etc/passwd or /etc/group has an id that is no number",
                              reason="BAD_OWNER", field="chown")
    return found


def _lines(root: Root, path: bytes, fields: int) -> list[list[bytes]]:
    content = root.read_file(path, _FILE_MAX) or b""
    split = [line.strip().split(b":") for line in content.split(b"\n")]
    return [line for line in split if len(line) >= fields]
