"""The grammars of Pier's ids: one function per kind, applied where a message enters, and nowhere else.

An id that passed is safe as a file name, a cgroup name, an nft comment and a log field: it holds no slash, no dot at
its start, no white space, no control byte. The functions return NewTypes, so that mypy knows what was checked.
"""

from __future__ import annotations

import re
import secrets
from typing import Final, NewType, Protocol, TypeVar

from chassis.errors import InvalidArgument

ContainerId = NewType("ContainerId", str)
SandboxId = NewType("SandboxId", str)
NetworkId = NewType("NetworkId", str)
ExecId = NewType("ExecId", str)
Name = NewType("Name", str)
Namespace = NewType("Namespace", str)
Digest = NewType("Digest", str)

_HEX64: Final = re.compile(r"[0-9a-f]{64}")
_KEY: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}")
_MANAGER: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}")
_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_NAMESPACE: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_NAME_MAX: Final = 255


class OwnedBy(Protocol):
    """A request for what belongs to a manager, to a namespace of it."""

    @property
    def manager(self) -> str: ...

    @property
    def namespace(self) -> str: ...


class Owner(OwnedBy, Protocol):
    """The message types.Owner: this module loads no contracts."""

    @property
    def id(self) -> str: ...


Message = TypeVar("Message", bound=Owner)


def _check(pattern: re.Pattern[str], value: str, field: str, expected: str) -> str:
    if not pattern.fullmatch(value):
        shown = ascii(value if len(value) <= 80 else value[:80] + "…")
        raise InvalidArgument(f"{field}: {shown} is not {expected}", reason="BAD_ID", field=field, expected=expected)
    return value


def container_id(value: str, field: str = "id") -> ContainerId:
    """64 lower-case hexadecimal digits, as Docker's."""
    return ContainerId(_check(_HEX64, value, field, "64 lower-case hexadecimal digits"))


def network_id(value: str, field: str = "id") -> NetworkId:
    """64 lower-case hexadecimal digits, as Docker's."""
    return NetworkId(_check(_HEX64, value, field, "64 lower-case hexadecimal digits"))


def exec_id(value: str, field: str = "id") -> ExecId:
    """64 lower-case hexadecimal digits, as Docker's."""
    return ExecId(_check(_HEX64, value, field, "64 lower-case hexadecimal digits"))


def sandbox_id(value: str, field: str = "sandbox_id") -> SandboxId:
    """64 lower-case hexadecimal digits; the gateway gives a container's sandbox the container's id."""
    return SandboxId(_check(_HEX64, value, field, "64 lower-case hexadecimal digits"))


def name(value: str, field: str = "name") -> Name:
    """A name that people give: ``[a-zA-Z0-9][a-zA-Z0-9_.-]+``, two characters at least, 255 at most, as Docker's."""
    if len(value) > _NAME_MAX:
        raise InvalidArgument(
            f"{field}: {len(value)} characters are too many", reason="BAD_ID", field=field, expected="255 at most"
        )
    return Name(_check(_NAME, value, field, "[a-zA-Z0-9][a-zA-Z0-9_.-]+"))


def key(value: str, field: str = "key") -> str:
    """An id that a client chooses (a snapshot key, a lease, an operation): ``[a-zA-Z0-9][a-zA-Z0-9_.-]*``, ≤ 128."""
    return _check(_KEY, value, field, "[a-zA-Z0-9][a-zA-Z0-9_.-]*, 128 characters at most")


def namespace(value: str, field: str = "namespace") -> Namespace:
    """A DNS-like word of 63 characters at most: "docker", "k8s.io"."""
    return Namespace(_check(_NAMESPACE, value, field, "a lower-case word of letters, digits, '.', '-', 63 at most"))


def manager(value: str, field: str = "manager") -> str:
    """The program that something belongs to: ``[a-zA-Z0-9][a-zA-Z0-9_.-]*``, ≤ 63."""
    return _check(_MANAGER, value, field, "a word of letters, digits, '.', '_', '-', 63 at most")


def owner(value: Message, field: str = "owner") -> Message:
    """``value``, a types.Owner, with each of its three words a word."""
    manager(value.manager, f"{field}.manager")
    namespace(value.namespace, f"{field}.namespace")
    key(value.id, f"{field}.id")
    return value


def owned_by(request: OwnedBy) -> None:
    """What a list is asked for by, each "" for all."""
    if request.manager:
        manager(request.manager)
    if request.namespace:
        namespace(request.namespace)


def digest(value: str, field: str = "digest") -> Digest:
    """``sha256:`` and 64 lower-case hexadecimal digits (OCI image specification, "Digests")."""
    return Digest(_check(_DIGEST, value, field, "sha256: and 64 lower-case hexadecimal digits"))


def new_id() -> str:
    """A fresh random id of 64 hexadecimal digits."""
    return secrets.token_hex(32)
