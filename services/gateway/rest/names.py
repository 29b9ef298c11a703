"""Image names as Docker's requests and answers have them: repository and tag apart, the familiar form, patterns.

imaged alone decides what a reference means; here it is only put together and taken apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_HUB: Final = "docker.io/"
_LIBRARY: Final = "library/"


def joined(repository: str, tag: str) -> str:
    """The reference of a request that names repository and tag (or digest) apart. A given tag goes before the one that
    the repository may have."""
    if not tag:
        return repository
    return f"{split_familiar(repository)}{'@' if ':' in tag else ':'}{tag}"


def has_tag(reference: str) -> bool:
    """Whether ``reference`` says which image of its repository is meant."""
    return "@" in reference or ":" in reference.rpartition("/")[2]


def split_familiar(reference: str) -> str:
    """The repository of a reference, without its tag and digest."""
    name = reference.partition("@")[0]
    return name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name


def familiar(canonical: str) -> str:
    """``docker.io/library/busybox@…`` as people write it: ``busybox@…``."""
    if not canonical.startswith(_HUB):
        return canonical
    rest = canonical.removeprefix(_HUB)
    short = rest.removeprefix(_LIBRARY)
    return rest if "/" in short.partition("@")[0] else short


def full(reference: str) -> str:
    """The other way: ``busybox`` is ``docker.io/library/busybox``."""
    host, slash, _ = reference.partition("/")
    if slash and (host == "localhost" or "." in host or ":" in host):
        return reference
    return f"{_HUB}{reference}" if slash else f"{_HUB}{_LIBRARY}{reference}"


class Pattern:
    """The filter `reference`: a shell pattern (Go's path.Match) upon the familiar name, with or without the tag."""

    def __init__(self, pattern: str) -> None:
        self._expression = re.compile(_expression(familiar(pattern)))

    def matches(self, reference: str) -> bool:
        """Whether the familiar ``reference``, or its repository, is meant."""
        return any(self._expression.fullmatch(text) for text in (reference, split_familiar(reference)))


def matching(references: Iterable[str], patterns: Iterable[Pattern]) -> list[str]:
    """Those of ``references`` that any of ``patterns`` means."""
    wanted = list(patterns)
    return [reference for reference in references if any(pattern.matches(reference) for pattern in wanted)]


def _expression(pattern: str) -> str:
    """``pattern`` as a regular expression. ValueError where it is malformed. `*` and `?` stop at a slash."""
    made, position = "", 0
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if character == "*":
            made += "[^/]*"
        elif character == "?":
            made += "[^/]"
        elif character == "\\":
            if position == len(pattern):
                raise ValueError("a pattern ends in a backslash")
            made += re.escape(pattern[position])
            position += 1
        elif character == "[":
            end = pattern.find("]", position + 1)
            if end < 0:
                raise ValueError("a pattern's bracket is not closed")
            inner = pattern[position:end]
            negated = inner.startswith("^")
            made += f"[{'^' if negated else ''}{_class(inner[negated:])}]"
            position = end + 1
        else:
            made += re.escape(character)
    return made


def _class(inner: str) -> str:
    """The inside of a bracket; ValueError for a range that runs backwards or lacks an end."""
    parts = re.findall(r"(\w)-(\w)|([^-])", inner, re.DOTALL | re.ASCII)
    if not parts or "".join(f"{low}-{high}" if low else one for low, high, one in parts) != inner:
        raise ValueError("a pattern's bracket is malformed")
    if any(low > high for low, high, _ in parts):
        raise ValueError("a pattern's range runs backwards")
    return "".join(f"{low}-{high}" if low else re.escape(one) for low, high, one in parts)
