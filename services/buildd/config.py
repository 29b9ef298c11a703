"""An image's configuration as a build reads and writes it (OCI image specification, "Image Configuration").

A base image's bytes are whoever made it: strict in type, and what is unknown is not taken over.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from chassis.errors import InvalidArgument

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""What Docker gives an image that says nothing."""
SHELL: Final = ("/bin/sh", "-c")


class Health(msgspec.Struct, rename="pascal", omit_defaults=True, frozen=True):
    """Times in nanoseconds; 0 is not given."""

    test: list[str] | None = None
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class Config(msgspec.Struct, rename="pascal", omit_defaults=True, frozen=True):
    """The object `config`; a build changes it by ``msgspec.structs.replace``."""

    user: str | None = ""
    exposed_ports: dict[str, dict[str, Any] | None] | None = None
    env: list[str] | None = None
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    volumes: dict[str, dict[str, Any] | None] | None = None
    working_dir: str | None = ""
    labels: dict[str, str] | None = None
    stop_signal: str | None = ""
    args_escaped: bool | None = False
    healthcheck: Health | None = None
    on_build: list[str] | None = None
    shell: list[str] | None = None

    @property
    def variables(self) -> dict[str, str]:
        """The environment by name."""
        return {name: value for name, _, value in (entry.partition("=") for entry in self.env or ())}

    @property
    def command_shell(self) -> list[str]:
        return list(self.shell or SHELL)


class Step(msgspec.Struct, omit_defaults=True, frozen=True):
    """One entry of `history`, oldest first."""

    created: str | None = ""
    created_by: str | None = ""
    author: str | None = ""
    comment: str | None = ""
    empty_layer: bool = False


class Document(msgspec.Struct, omit_defaults=True, frozen=True):
    """The whole configuration without `rootfs`, which imaged fills in."""

    architecture: str
    os: str
    created: str = ""
    author: str | None = ""
    variant: str | None = ""
    os_version: str | None = msgspec.field(default="", name="os.version")
    os_features: list[str] | None = msgspec.field(default=None, name="os.features")
    config: Config | None = None
    history: list[Step] | None = None


class _Rootfs(msgspec.Struct, frozen=True):
    diff_ids: list[str] | None = None


class _Base(Document, frozen=True):
    rootfs: _Rootfs | None = None


def parse(data: bytes) -> Document:
    """A base image's. InvalidArgument (BAD_IMAGE_CONFIG) where it is not what it must be.

    Its history names as many layers as it has: where it does not, steps without words are added or it is left out.
    """
    try:
        found = msgspec.json.decode(data, type=_Base)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"image config: {error}", reason="BAD_IMAGE_CONFIG", field="image",
                              expected="an OCI image configuration") from error
    layers = len((found.rootfs.diff_ids if found.rootfs else None) or ())
    history = list(found.history or ())
    told = sum(not step.empty_layer for step in history)
    history = history + [Step()] * (layers - told) if told <= layers else [Step()] * layers
    fields = {name: getattr(found, name) for name in Document.__struct_fields__}
    return Document(**{**fields, "config": found.config or Config(), "history": history})


def encode(document: Document) -> bytes:
    """The document as JSON; the same document gives the same bytes."""
    return msgspec.json.encode(document, order="deterministic")


def time_of(nanoseconds: int) -> str:
    """RFC 3339 in UTC, as Go writes it."""
    whole, rest = divmod(nanoseconds, 10**9)
    text = datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    digits = f"{rest:09d}".rstrip("0")
    return f"{text}.{digits}Z" if digits else f"{text}Z"
