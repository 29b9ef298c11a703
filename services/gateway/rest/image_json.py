"""pier.image.v1.Image as Docker's list, inspect and history show it. ``version`` is the request's API version."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

from gateway.rest import image_config, names, wire
from gateway.rest.versions import Version
from pier.image.v1 import image_pb2 as pb

DRIVER: Final = "overlay2"
"""What root file systems are made with, by Docker's name for it."""
NOT_COUNTED: Final = -1
_WITHOUT_NONE: Final = Version(1, 43)
_WITHOUT_VIRTUAL_SIZE: Final = Version(1, 44)
_WITHOUT_CONTAINER: Final = Version(1, 45)
_WITHOUT_EMPTY: Final = Version(1, 52)
_WITH_IDENTITY: Final = Version(1, 53)


def summary(
    image: pb.Image, tags: Sequence[str], digests: Sequence[str], version: Version, *, shared: int = NOT_COUNTED,
    containers: int = NOT_COUNTED,
) -> dict[str, Any]:
    """One entry of the list. ``tags`` and ``digests`` are familiar references: all, or those that a filter left."""
    made = {
        "Id": image.id, "ParentId": "", "RepoTags": list(tags), "RepoDigests": list(digests),
        "Created": image.created_at.seconds, "Size": image.size, "SharedSize": shared, "Labels": dict(image.labels),
        "Containers": containers,
    }
    if version < _WITHOUT_NONE and not tags and not digests:
        made |= {"RepoTags": ["<none>:<none>"], "RepoDigests": ["<none>@<none>"]}
    if version < _WITHOUT_VIRTUAL_SIZE:
        made["VirtualSize"] = image.size
    return made


def inspected(image: pb.Image, version: Version) -> dict[str, Any]:
    """The answer to an inspect."""
    document = image_config.parse(image.config)
    steps = document.history or []
    made: dict[str, Any] = {
        "Id": image.id, "RepoTags": list(image.familiar), "RepoDigests": familiar_digests(image),
        "Config": image_config.shown(document.config, version),
        "Architecture": image.platform.architecture, "Os": image.platform.os, "Size": image.size,
        "GraphDriver": {"Name": DRIVER, "Data": None},
        "RootFS": {"Type": "layers", "Layers": [layer.diff_id for layer in image.layers]},
        "Metadata": {"LastTagTime": wire.rfc3339(image.tagged_at)},
    }
    words = {"Parent": "", "Comment": steps[-1].comment if steps else "", "DockerVersion": "",
             "Author": document.author}
    made |= {key: value for key, value in words.items() if value or version < _WITHOUT_EMPTY}
    if version >= _WITH_IDENTITY and image.digests:
        repositories = dict.fromkeys(digest.partition("@")[0] for digest in image.digests)
        made["Identity"] = {"Pull": [{"Repository": repository} for repository in repositories]}
    if image.HasField("created_at") or version < _WITHOUT_VIRTUAL_SIZE:
        made["Created"] = wire.rfc3339(image.created_at)
    if image.platform.variant:
        made["Variant"] = image.platform.variant
    if document.os_version:
        made["OsVersion"] = document.os_version
    if version < _WITHOUT_VIRTUAL_SIZE:
        made["VirtualSize"] = image.size
    if version < _WITHOUT_CONTAINER:
        made |= {"Container": "", "ContainerConfig": image_config.shown(None, version)}
    return made


def history(image: pb.Image) -> list[dict[str, Any]]:
    """The answer to a history: newest first; only the top has an id and tags."""
    entries = image_config.history(image_config.parse(image.config), image.layers)
    made: list[dict[str, Any]] = [
        {
            "Id": "<missing>", "Created": entry.created, "CreatedBy": entry.step.created_by, "Tags": None,
            "Size": entry.size, "Comment": entry.step.comment,
        }
        for entry in entries
    ]
    if made:
        made[0] |= {"Id": image.id, "Tags": list(image.familiar) or None}
    return made


def removed(items: Iterable[pb.Removed]) -> list[dict[str, str]]:
    """The answer to a delete."""
    return [
        {"Untagged": item.untagged} if item.WhichOneof("what") == "untagged" else {"Deleted": item.deleted}
        for item in items
    ]


def familiar_digests(image: pb.Image) -> list[str]:
    return [names.familiar(reference) for reference in image.digests]


def shared_sizes(images: Sequence[pb.Image]) -> dict[str, int]:
    """Image id → bytes of its layers that another of ``images`` has too."""
    count = Counter(chain_id for image in images for chain_id in {layer.chain_id for layer in image.layers})
    return {
        image.id: sum(layer.size for layer in image.layers if count[layer.chain_id] > 1) for image in images
    }


def layers_size(images: Iterable[pb.Image]) -> int:
    """Bytes of all layers, each counted once."""
    return sum({layer.chain_id: layer.size for image in images for layer in image.layers}.values())
