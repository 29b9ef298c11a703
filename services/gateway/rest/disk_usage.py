"""GET /system/df: the lists of what takes space (before API 1.52), and the sums over them (since).

A sum says what ``docker system df`` prints: how many there are, how many are in use, the bytes of all, and those that a
prune would free. An entry's size is -1 where nobody could tell it, and counts as none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.rest import image_json
from gateway.rest.versions import Version
from pier.image.v1 import image_pb2

Entries = Sequence[Mapping[str, Any]]
_ACTIVE: Final = ("running", "paused", "restarting")
_BUILDER_SIZE_UNTIL: Final = Version(1, 42)
_WITHOUT_OTHER_KINDS: Final = Version(1, 52)


@dataclass(frozen=True)
class Usage:
    """What there is of the ``kinds`` that were asked for, as Docker's lists have it; ``layers_size`` in bytes."""

    kinds: frozenset[str]
    layers_size: int
    images: Entries
    containers: Entries
    volumes: Entries
    cache: Entries

    def lists(self, version: Version) -> dict[str, Any]:
        """The older form. Until API 1.52 a kind that was not asked for is an empty list."""
        made: dict[str, Any] = {"LayersSize": self.layers_size} if "image" in self.kinds else {}
        if version < _BUILDER_SIZE_UNTIL:
            made["BuilderSize"] = _total(self.cache)
        for kind, key, entries in (("image", "Images", self.images), ("container", "Containers", self.containers),
                                   ("volume", "Volumes", self.volumes), ("build-cache", "BuildCache", self.cache)):
            if kind in self.kinds or version < _WITHOUT_OTHER_KINDS:
                made[key] = list(entries) if kind in self.kinds else []
        return made

    def sums(self, *, verbose: bool) -> dict[str, Any]:
        """The newer form; ``verbose`` with the entries of each kind."""
        made = {}
        for kind, key, sum_, entries in (
            ("image", "ImageUsage", self._of_images, self.images),
            ("container", "ContainerUsage", self._of_containers, self.containers),
            ("volume", "VolumeUsage", self._of_volumes, self.volumes),
            ("build-cache", "BuildCacheUsage", self._of_cache, self.cache),
        ):
            if kind in self.kinds:
                made[key] = sum_() | ({"Items": list(entries)} if verbose and entries else {})
        return made

    def _of_images(self) -> dict[str, int]:
        """What an image shares with another stays when it goes."""
        used = [image for image in self.images if image["Containers"] > 0]
        kept = sum(image["Size"] - image["SharedSize"] for image in used)
        return _sum(self.images, len(used), self.layers_size, self.layers_size - kept)

    def _of_containers(self) -> dict[str, int]:
        ended = [entry for entry in self.containers if entry["State"] not in _ACTIVE]
        return _sum(self.containers, len(self.containers) - len(ended), _total(self.containers, "SizeRw"),
                    _total(ended, "SizeRw"))

    def _of_volumes(self) -> dict[str, int]:
        usages = [volume["UsageData"] for volume in self.volumes]
        unused = [usage for usage in usages if usage["RefCount"] == 0]
        return _sum(self.volumes, len(usages) - len(unused), _total(usages), _total(unused))

    def _of_cache(self) -> dict[str, int]:
        own = [record for record in self.cache if not record["Shared"]]
        active = sum(record["InUse"] for record in self.cache)
        return _sum(self.cache, active, _total(own), _total(record for record in own if not record["InUse"]))


def images(found: Sequence[image_pb2.Image], counts: Mapping[str, int], version: Version) -> list[dict[str, Any]]:
    """Entries of the list of images; ``counts`` are containers by image id."""
    shared = image_json.shared_sizes(found)
    return [
        image_json.summary(
            image, image.familiar, image_json.familiar_digests(image), version, shared=shared[image.id],
            containers=counts.get(image.id, 0),
        )
        for image in found
    ]


def _total(entries: Iterable[Mapping[str, Any]], key: str = "Size") -> int:
    return sum(max(entry.get(key, 0), 0) for entry in entries)


def _sum(entries: Entries, active: int, total: int, reclaimable: int) -> dict[str, int]:
    return {"ActiveCount": active, "TotalCount": len(entries), "Reclaimable": reclaimable, "TotalSize": total}
