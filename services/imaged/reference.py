"""Image references: what people write (``busybox``) and what it stands for (``docker.io/library/busybox:latest``).

The grammar is Docker's (github.com/distribution/reference, "Grammar"): ``[domain "/"] path [":" tag] ["@" digest]``.
Only the canonical form is stored and compared; the familiar form is for people.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from chassis.errors import InvalidArgument
from chassis.ids import Digest
from chassis.ids import digest as check_digest

DEFAULT_DOMAIN: Final = "docker.io"
DEFAULT_TAG: Final = "latest"
_LEGACY_DOMAIN: Final = "index.docker.io"
_LIBRARY: Final = "library/"
_PATH_MAX: Final = 255
_INPUT_MAX: Final = 1024

_COMPONENT = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN: Final = re.compile(rf"(?:{_COMPONENT}(?:\.{_COMPONENT})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_PATH: Final = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_HEX64: Final = re.compile(r"[0-9a-f]{64}")
_FORMAT: Final = "invalid reference format"


@dataclass(frozen=True)
class Reference:
    """A parsed reference; ``tag`` and ``digest`` are None where it has none."""

    domain: str
    path: str
    tag: str | None = None
    digest: Digest | None = None

    @property
    def repository(self) -> str:
        """``docker.io/library/busybox``."""
        return f"{self.domain}/{self.path}"

    @property
    def canonical(self) -> str:
        """The form that is stored: ``docker.io/library/busybox:latest``."""
        return self.repository + self._suffix()

    @property
    def familiar_name(self) -> str:
        """The repository as people write it: ``busybox``, ``user/app``, ``host:5000/app``."""
        if self.domain != DEFAULT_DOMAIN:
            return self.repository
        short = self.path.removeprefix(_LIBRARY)
        return short if "/" not in short else self.path

    @property
    def familiar(self) -> str:
        """The whole reference as people write it: ``busybox:latest``."""
        return self.familiar_name + self._suffix()

    def with_default_tag(self) -> Reference:
        """This reference; with the tag ``latest`` where it has neither tag nor digest."""
        return self if self.tag or self.digest else replace(self, tag=DEFAULT_TAG)

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse(text: str, field: str = "reference") -> Reference:
    """The reference that ``text`` means, its domain and ``library/`` filled in; no tag is added.

    InvalidArgument (reason BAD_REFERENCE), in Docker's words, for what is not one.
    """
    if not text:
        raise _bad(f"{_FORMAT}: repository name must have at least one component", field)
    if len(text) > _INPUT_MAX:
        raise _bad(f"{_FORMAT}: {len(text)} characters are too many", field)
    if _HEX64.fullmatch(text):
        raise _bad(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings", field)
    domain, rest = _split_domain(text)
    rest, at, digest_text = rest.partition("@")
    path, colon, tag = rest.partition(":")
    if path != path.lower():
        raise _bad(f"{_FORMAT}: repository name ({path}) must be lowercase", field)
    if not _DOMAIN.fullmatch(domain) or not _PATH.fullmatch(path) or (colon and not _TAG.fullmatch(tag)):
        raise _bad(_FORMAT, field)
    if len(path) > _PATH_MAX:
        raise _bad(f"repository name must not be more than {_PATH_MAX} characters", field)
    digest = check_digest(digest_text, field) if at else None
    return Reference(domain, path, tag or None, digest)


def parse_canonical(text: str) -> Reference:
    """A reference of our own store, which was made by ``Reference.canonical``."""
    return parse(text)


def check_tag(text: str, field: str = "tag") -> str:
    """``text`` if it is a tag, in Docker's words if not."""
    if not _TAG.fullmatch(text):
        raise _bad("invalid tag format", field)
    return text


def _split_domain(text: str) -> tuple[str, str]:
    """Docker's rule: what stands before the first slash is a host if it has a dot, a colon, a capital letter or is
    ``localhost``; else the text is a path on Docker Hub."""
    first, slash, rest = text.partition("/")
    if not slash or not (set(first) & {".", ":"} or first == "localhost" or first != first.lower()):
        domain, rest = DEFAULT_DOMAIN, text
    else:
        domain = DEFAULT_DOMAIN if first == _LEGACY_DOMAIN else first
    if domain == DEFAULT_DOMAIN and "/" not in rest:
        rest = _LIBRARY + rest
    return domain, rest


def _bad(message: str, field: str) -> InvalidArgument:
    return InvalidArgument(message, reason="BAD_REFERENCE", field=field, expected="[host[:port]/]path[:tag][@digest]")
