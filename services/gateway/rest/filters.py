"""The ``filters`` query: JSON in both encodings that clients use, checked against the keys that an endpoint knows.

``{"label": ["a=b", "c"]}`` and ``{"label": {"a=b": true}}`` mean the same. Different keys are ANDed, the values of
one key ORed, except ``label``, all of which must match.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from gateway.rest.errors import bad

_BOOLEANS: Final = {"1": True, "true": True, "0": False, "false": False}


@dataclass(frozen=True)
class Filters:
    """Key → its values, in the order in which they came."""

    values: Mapping[str, tuple[str, ...]]

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def get(self, key: str) -> tuple[str, ...]:
        return self.values.get(key, ())

    def exact(self, key: str, *candidates: str) -> bool:
        """No such filter, or one of its values is one of ``candidates``."""
        return key not in self.values or any(value in candidates for value in self.values[key])

    def any(self, key: str, matches: Callable[[str], bool]) -> bool:
        """No such filter, or ``matches`` holds for one of its values."""
        return key not in self.values or any(matches(value) for value in self.values[key])

    def labels(self, labels: Mapping[str, str], key: str = "label") -> bool:
        """Each value, "k" or "k=v", is found in ``labels``."""
        for value in self.get(key):
            name, equals, wanted = value.partition("=")
            if name not in labels or (equals and labels[name] != wanted):
                return False
        return True

    def without_labels(self, labels: Mapping[str, str]) -> bool:
        """No value of ``label!`` is found in ``labels``."""
        return all(not Filters({"label": (value,)}).labels(labels) for value in self.get("label!"))

    def pattern(self, key: str, *candidates: str) -> bool:
        """As ``any``, by unanchored regular expression; a value that is no expression is compared as it is."""
        return self.any(key, lambda value: any(_search(value, candidate) for candidate in candidates))

    def boolean(self, key: str, default: bool | None = None) -> bool | None:
        """The one truth value under ``key``. 400 for another word, or for both."""
        values = self.get(key)
        if not values:
            return default
        words = {_BOOLEANS.get(value.lower()) for value in values}
        if len(words) != 1 or None in words:
            raise bad(f"invalid filter '{key}=[{' '.join(values)}]'", field=key, expected="true or false")
        return words.pop()


def parse(text: str, known: Iterable[str]) -> Filters:
    """The filters in a query's value; "" is none. 400 "invalid filter" for malformed ones and unknown keys."""
    if not text:
        return Filters({})
    try:
        document = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise bad(f"invalid filter: {error}", field="filters") from error
    if document is None:
        return Filters({})
    if not isinstance(document, dict):
        raise bad("invalid filter: not an object", field="filters")
    values: dict[str, tuple[str, ...]] = {}
    allowed = frozenset(known)
    for key, given in document.items():
        if key not in allowed:
            raise bad(f"invalid filter '{key}'", field="filters", expected=", ".join(sorted(allowed)))
        if given is not None and not isinstance(given, dict | list | str):
            raise bad(f"invalid filter '{key}': neither a list nor a map", field="filters")
        entries = (given,) if isinstance(given, str) else tuple(given or ())
        if not all(isinstance(entry, str) for entry in entries):
            raise bad(f"invalid filter '{key}': values are strings", field="filters")
        if entries:
            values[key] = entries
    return Filters(values)


def _search(pattern: str, candidate: str) -> bool:
    if pattern == candidate:
        return True
    if len(pattern) > 256:
        return False
    try:
        return re.search(pattern, candidate) is not None
    except re.error:
        return False
