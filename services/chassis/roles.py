"""What a certificate's owner may do: nothing, read, or everything; by a file that maps certificates to roles.

Without a file every certificate of the authority is an operator's, as with dockerd. With one the first rule counts
that the certificate meets in all that the rule names; ``default`` (none where it is not given) is for what meets no
rule. The file is read again when it has changed; while it cannot be read, what was last read counts::

    default = "read-only"

    [[rule]]
    role = "operator"
    cn = "admin"                    # common name
    [[rule]]
    role = "operator"
    ou = "node agents"              # one of its organizational units
    san = "DNS:node-1.example"      # one of its subject alternative names: DNS:, IP:, URI:, email:

Who comes through a unix socket, or over plain TCP on loopback where that was asked for, is an operator.
"""

from __future__ import annotations

import enum
import os
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from chassis.caller import Caller, Certificate
from chassis.errors import InvalidArgument, PermissionDenied
from chassis.logs import logger

_LOOK: Final = 1.0
"""Seconds between two looks whether the file has changed."""


class Role(enum.Enum):
    NONE = "none"
    READ_ONLY = "read-only"
    OPERATOR = "operator"


class _Rule(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    role: Role
    cn: str | None = None
    ou: str | None = None
    san: str | None = None

    def matches(self, known: Certificate) -> bool:
        return (
            self.cn in (None, known.common_name)
            and (self.ou is None or self.ou in known.units)
            and (self.san is None or self.san in known.names)
        )


class _File(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    default: Role = Role.NONE
    rule: tuple[_Rule, ...] = ()


class Roles:
    """The roles in the file ``path``; "" for none."""

    def __init__(self, path: str) -> None:
        """InvalidArgument for a file that is not there, or not as it has to be."""
        self._path = Path(path) if path else None
        self._looked = time.monotonic()
        self._seen: tuple[int, ...] = ()
        self._file = _File(default=Role.OPERATOR)
        if self._path is not None:
            self._seen, self._file = _stamp(self._path), _read(self._path)

    def of(self, who: Caller) -> Role:
        if who.certificate is None:
            return Role.OPERATOR
        self._refresh()
        for rule in self._file.rule:
            if rule.matches(who.certificate):
                return rule.role
        return self._file.default

    def prepare(self, path: str) -> Callable[[], None]:
        """Read the file at ``path``, which may be another one; what is returned lets it count. InvalidArgument as for a
        new one."""
        read = Roles(path)

        def apply() -> None:
            self._path, self._looked, self._seen, self._file = read._path, read._looked, read._seen, read._file

        return apply

    def check(self, who: Caller, call: str, *, changes: bool) -> None:
        """PermissionDenied (NO_ROLE, READ_ONLY) where ``who`` may not make ``call``, which ``changes`` something."""
        role = self.of(who)
        if role is Role.NONE:
            raise PermissionDenied(f"{who.certificate}: this certificate has no role here", reason="NO_ROLE")
        if changes and role is Role.READ_ONLY:
            raise PermissionDenied(f"{who.certificate}: this certificate may only read: {call} changes something",
                                   reason="READ_ONLY")

    def _refresh(self) -> None:
        now = time.monotonic()
        if self._path is None or now - self._looked < _LOOK:
            return
        self._looked = now
        try:
            if (stamp := _stamp(self._path)) != self._seen:
                self._seen = stamp
                self._file = _read(self._path)
                logger().info("roles are read again", path=str(self._path))
        except (OSError, InvalidArgument) as error:
            logger().error("the roles stay as they were", path=str(self._path), error=str(error))


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        found = os.stat(path)
    except OSError as error:
        raise InvalidArgument(f"roles: {path}: {error.strerror}", reason="BAD_SETTING", field="roles") from error
    return found.st_mtime_ns, found.st_ino, found.st_size


def _read(path: Path) -> _File:
    try:
        document: dict[str, Any] = tomllib.loads(path.read_text())
        read = msgspec.convert(document, _File)
    except (OSError, ValueError, msgspec.ValidationError) as error:
        raise InvalidArgument(f"roles: {path}: {error}", reason="BAD_SETTING", field="roles",
                              expected="default, and [[rule]] with role and cn, ou or san") from error
    for number, rule in enumerate(read.rule, 1):
        if rule.cn is None and rule.ou is None and rule.san is None:
            raise InvalidArgument(f"roles: {path}: rule {number} names no certificate", reason="BAD_SETTING",
                                  field="roles", expected="cn, ou or san")
    return read
