"""Docker's progress objects (JSONMessage): one JSON object a line, ended by CR LF, flushed as they come.

Clients key on ``id`` (the first 12 digits of a layer's digest) and read ``error``/``errorDetail`` as the stream's
failure, since the status 200 is long sent by then.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from gateway.rest import names
from pier.image.v1 import image_pb2 as pb

Message = dict[str, Any]

_WIDTH: Final = 50
_UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_PULLED: Final = {
    pb.LAYER_PHASE_DOWNLOADING: "Downloading", pb.LAYER_PHASE_EXTRACTING: "Extracting",
    pb.LAYER_PHASE_DOWNLOADED: "Download complete", pb.LAYER_PHASE_DONE: "Pull complete",
    pb.LAYER_PHASE_EXISTS: "Already exists", pb.LAYER_PHASE_RETRYING: "Retrying",
}
_PUSHED: Final = {
    pb.LAYER_PHASE_WAITING: "Preparing", pb.LAYER_PHASE_UPLOADING: "Pushing", pb.LAYER_PHASE_DONE: "Pushed",
    pb.LAYER_PHASE_EXISTS: "Layer already exists", pb.LAYER_PHASE_MOUNTED: "Mounted",
}
_WITH_BAR: Final = (pb.LAYER_PHASE_DOWNLOADING, pb.LAYER_PHASE_EXTRACTING, pb.LAYER_PHASE_UPLOADING)


def line(message: Message) -> bytes:
    """``message`` as it goes over the wire."""
    return msgspec.json.encode(message) + b"\r\n"


def failure(text: str) -> Message:
    """What ends a stream that has begun and failed."""
    return {"errorDetail": {"message": text}, "error": text}


class PullProgress:
    """Messages of one pull: ``of`` turns each event of imaged into those that Docker sends."""

    def __init__(self) -> None:
        self._familiar = ""
        self._seen: set[str] = set()

    def of(self, event: pb.PullResponse) -> Iterator[Message]:
        """The messages for ``event``, in order."""
        match event.WhichOneof("event"):
            case "begin":
                self._familiar = event.begin.familiar
                yield _pulling(event.begin.reference)
            case "layer":
                yield from self._layer(event.layer)
            case "end":
                yield {"status": f"Digest: {event.end.digest}"}
                word = "Image is up to date" if event.end.up_to_date else "Downloaded newer image"
                yield {"status": f"Status: {word} for {self._familiar}"}

    def _layer(self, layer: pb.LayerProgress) -> Iterator[Message]:
        short = short_digest(layer.digest)
        if short not in self._seen:
            self._seen.add(short)
            if layer.phase != pb.LAYER_PHASE_EXISTS:
                yield _step(short, "Pulling fs layer")
        if layer.phase == pb.LAYER_PHASE_DOWNLOADED:
            yield _step(short, "Verifying Checksum")
        if layer.phase in _PULLED:
            yield _step(short, _PULLED[layer.phase], layer)


class PushProgress:
    """Messages of one push."""

    def __init__(self, repository: str, tag: str) -> None:
        self._repository = repository
        self._tag = tag
        self._begun = False

    def of(self, event: pb.PushResponse) -> Iterator[Message]:
        """The messages for ``event``, in order."""
        if not self._begun:
            self._begun = True
            yield {"status": f"The push refers to repository [{self._repository}]"}
        if event.WhichOneof("event") == "layer":
            short = short_digest(event.layer.digest)
            yield _step(short, _PUSHED[event.layer.phase], event.layer)
            return
        found = event.manifest
        yield {"status": f"{self._tag}: digest: {found.digest} size: {found.size}"}
        yield {"progressDetail": {}, "aux": {"Tag": self._tag, "Digest": found.digest, "Size": found.size}}


def loading(layer: pb.LayerProgress) -> Message | None:
    """The message for a layer of an archive; None for a phase that Docker does not tell."""
    if layer.phase == pb.LAYER_PHASE_EXTRACTING:
        return _step(short_digest(layer.digest), "Loading layer", layer)
    return None


def short_digest(digest: str) -> str:
    """The 12 digits that people are shown."""
    return digest.rpartition(":")[2][:12]


def _pulling(canonical: str) -> Message:
    repository = names.split_familiar(canonical)
    tag = canonical.partition("@")[2] or canonical.removeprefix(repository).removeprefix(":")
    return {"status": f"Pulling from {repository.partition('/')[2]}", "id": tag}


def _step(short: str, status: str, layer: pb.LayerProgress | None = None) -> Message:
    message: Message = {"status": status, "progressDetail": {}, "id": short}
    if layer is not None and layer.phase in _WITH_BAR:
        message["progressDetail"] = {"current": layer.current, "total": layer.total}
        message["progress"] = bar(layer.current, layer.total)
    return message


def bar(current: int, total: int) -> str:
    """``[=====>     ]  1.2MB/3.4MB``, for clients that draw none of their own; the amount alone without a total."""
    done = human_size(current)
    if total <= 0 or current > total:
        return f"{done:>8}"
    filled = current * _WIDTH // total
    return f"[{'=' * filled}>{' ' * (_WIDTH - filled)}] {done:>8}/{human_size(total)}"


def human_size(size: float) -> str:
    """Bytes in units of 1000 with four significant digits, as Docker writes them."""
    unit = 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size /= 1000
        unit += 1
    return f"{size:.4g}{_UNITS[unit]}"
