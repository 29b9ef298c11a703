"""The filters of the image list: which images, and which of their references, are shown."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from chassis.durations import nanoseconds
from gateway.rest import image_json, names
from gateway.rest.errors import bad
from gateway.rest.filters import Filters
from pier.image.v1 import image_pb2 as pb

KNOWN: Final = ("before", "dangling", "label", "label!", "reference", "since", "until")


@dataclass(frozen=True)
class Shown:
    """An image with the familiar references that the filters left."""

    image: pb.Image
    tags: list[str]
    digests: list[str]


def select(
    images: Iterable[pb.Image], filters: Filters, before: list[pb.Image], since: list[pb.Image]
) -> Iterator[Shown]:
    """Those of ``images`` that pass. ``before`` and ``since`` are the images that those filters name."""
    patterns = [_pattern(text) for text in filters.get("reference")]
    dangling = filters.boolean("dangling")
    oldest = max((_created(image) for image in since), default=None)
    limits = [_created(image) for image in before] + [moment(text) * 10**9 for text in filters.get("until")]
    newest = min(limits, default=None)
    for image in images:
        created = _created(image)
        if (newest is not None and created >= newest) or (oldest is not None and created <= oldest):
            continue
        if not filters.labels(image.labels) or not filters.without_labels(image.labels):
            continue
        tags, digests = list(image.familiar), image_json.familiar_digests(image)
        if dangling is not None and dangling != (not tags and (dangling or not digests)):
            continue
        if patterns:
            tags, digests = names.matching(tags, patterns), names.matching(digests, patterns)
            if not tags and not digests:
                continue
        yield Shown(image, tags, digests)


def moment(text: str, now: float | None = None) -> int:
    """The second since 1970 that the filter `until` means: seconds, RFC 3339, or a duration ago ("24h")."""
    try:
        if re.fullmatch(r"-?\d+(\.\d{1,9})?", text, re.ASCII):
            return int(float(text))
        with suppress(ValueError):
            return int((time.time() if now is None else now) - nanoseconds(text) / 10**9)
        when = datetime.fromisoformat(text)
        return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError) as error:
        raise bad(f"invalid filter 'until={text}'", field="filters", expected="a time or a duration") from error


def _created(image: pb.Image) -> int:
    return image.created_at.ToNanoseconds()


def _pattern(text: str) -> names.Pattern:
    try:
        return names.Pattern(text)
    except ValueError as error:
        raise bad(f"invalid filter 'reference={text}': {error}", field="filters") from error
