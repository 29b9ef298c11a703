"""An image's config (OCI image specification, "Image Configuration", and Docker's additions) as Docker shows it.

The bytes are whoever made the image's: types are strict, unknown keys are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from chassis.errors import InvalidArgument
from gateway.rest.versions import Version
from pier.image.v1 import image_pb2 as pb

_IMAGE_ALONE: Final = Version(1, 50)
_WITHOUT_EMPTY: Final = Version(1, 52)
_EMPTY: Final[dict[str, Any]] = {
    "User": "", "Env": None, "Cmd": None, "Volumes": None, "WorkingDir": "", "Entrypoint": None, "OnBuild": None,
    "Labels": None,
}
_OF_CONTAINERS: Final[dict[str, Any]] = {
    "Hostname": "", "Domainname": "", "AttachStdin": False, "AttachStdout": False, "AttachStderr": False, "Tty": False,
    "OpenStdin": False, "StdinOnce": False, "Image": "",
}


class Health(msgspec.Struct, rename="pascal", omit_defaults=True):
    """Times in nanoseconds."""

    test: list[str] | None = None
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class Config(msgspec.Struct, rename="pascal", omit_defaults=True):
    """The object `config`, in the spelling in which Docker gives it back."""

    user: str = ""
    exposed_ports: dict[str, dict[str, Any] | None] | None = None
    env: list[str] | None = None
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    volumes: dict[str, dict[str, Any] | None] | None = None
    working_dir: str = ""
    labels: dict[str, str] | None = None
    stop_signal: str = ""
    args_escaped: bool = False
    healthcheck: Health | None = None
    on_build: list[str] | None = None
    shell: list[str] | None = None


class Step(msgspec.Struct):
    """One entry of `history`, oldest first."""

    created: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


class Document(msgspec.Struct):
    """The whole configuration, as far as it is shown."""

    author: str = ""
    os_version: str = msgspec.field(default="", name="os.version")
    config: Config | None = None
    history: list[Step] | None = None


@dataclass(frozen=True)
class Entry:
    """A step of an image's history with the bytes that it added."""

    step: Step
    size: int

    @property
    def created(self) -> int:
        """Seconds since 1970; 0 where the image does not say, or says nonsense."""
        try:
            when = datetime.fromisoformat(self.step.created)
            return int(when.timestamp()) if when.tzinfo is not None else 0
        except (ValueError, OverflowError):
            return 0


def parse(data: bytes) -> Document:
    """The configuration. InvalidArgument (BAD_IMAGE_CONFIG) where it is not what the specification says."""
    try:
        return msgspec.json.decode(data, type=Document)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidArgument(
            f"image config: {error}", reason="BAD_IMAGE_CONFIG", field="image", expected="an OCI image configuration"
        ) from error


def history(document: Document, layers: Sequence[pb.Layer]) -> list[Entry]:
    """The steps, newest first. Layers that no step tells of are steps without words."""
    sizes = iter([layer.size for layer in layers])
    entries = [Entry(step, 0 if step.empty_layer else next(sizes, 0)) for step in document.history or ()]
    entries += [Entry(Step(), size) for size in sizes]
    return entries[::-1]


def shown(config: Config | None, version: Version) -> dict[str, Any]:
    """`Config` of an inspect. Before API 1.50 a container's empty keys stand in it too, before 1.52 the image's own."""
    made = dict(_pairs(config or Config()))
    if version >= _WITHOUT_EMPTY:
        return {key: value for key, value in made.items() if value or key not in _EMPTY}
    return (_OF_CONTAINERS if version < _IMAGE_ALONE else {}) | _EMPTY | made


def _pairs(config: Config) -> Iterator[tuple[str, Any]]:
    for key, value in msgspec.to_builtins(config).items():
        if value is not None:
            yield key, value
