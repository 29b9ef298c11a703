"""Which of several forms of an answer the client wants most: the request's ``Accept`` (RFC 9110 section 12.5.1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

_NONE, _ANYTHING, _KIND, _EXACTLY = range(4)
"""How well a range names a media type."""


def best(accept: str, offers: Sequence[str], default: str) -> str:
    """The offer with the highest weight, by the range that names it most closely; of equal ones the one that is named
    more closely, or the first. ``default`` where none is wanted, or the header is empty."""
    ranges = list(_ranges(accept))
    chosen, most = default, (0.0, _NONE)
    for offer in offers:
        wanted = _wanted(ranges, offer)
        if wanted[0] > 0 and wanted > most:
            chosen, most = offer, wanted
    return chosen


def _ranges(accept: str) -> Iterator[tuple[str, float]]:
    """(media range, weight). What is no weight counts as 1, as if it were not given."""
    for entry in accept.lower().split(","):
        name, *parameters = (part.strip() for part in entry.split(";"))
        weight = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip() == "q":
                try:
                    weight = min(max(float(value), 0.0), 1.0)
                except ValueError:
                    continue
        yield name, weight


def _wanted(ranges: Sequence[tuple[str, float]], offer: str) -> tuple[float, int]:
    """(weight, closeness) by the range that names the offer most closely."""
    closest, weight = _NONE, 0.0
    for name, given in ranges:
        closeness = _closeness(name, offer)
        if closeness > closest:
            closest, weight = closeness, given
    return weight, closest


def _closeness(name: str, offer: str) -> int:
    if name == offer:
        return _EXACTLY
    if name == f"{offer.partition('/')[0]}/*":
        return _KIND
    return _ANYTHING if name == "*/*" else _NONE
