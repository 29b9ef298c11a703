"""An image's config as far as a container takes defaults from it (OCI image specification, "Image Configuration").

The bytes come from whoever made the image: parsed strictly in type, ignored where unknown, and never trusted for keys
that are the engine's own.
"""

from __future__ import annotations

import msgspec

from chassis.errors import InvalidArgument


class Health(msgspec.Struct, rename="pascal", frozen=True):
    """The `Healthcheck` object (Docker's image specification). Times in nanoseconds; 0 is not given."""

    test: list[str] | None = None
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class Config(msgspec.Struct, rename="pascal", frozen=True):
    """The `config` object. None and empty mean the same: not given."""

    user: str | None = None
    env: list[str] | None = None
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    working_dir: str | None = None
    labels: dict[str, str] | None = None
    stop_signal: str | None = None
    exposed_ports: dict[str, object] | None = None
    volumes: dict[str, object] | None = None
    healthcheck: Health | None = None


class _Image(msgspec.Struct, frozen=True):
    config: Config | None = None


def parse(data: bytes) -> Config:
    """The config in an image's config blob. InvalidArgument (BAD_IMAGE_CONFIG) where it is not what it must be."""
    try:
        return msgspec.json.decode(data, type=_Image).config or Config()
    except msgspec.DecodeError as error:
        raise InvalidArgument(
            f"image config: {error}", reason="BAD_IMAGE_CONFIG", field="image", expected="an OCI image configuration"
        ) from error


def merge_env(image: list[str] | None, given: list[bytes]) -> list[bytes]:
    """The given entries, the last of each key, and after them those of the image whose keys are not given.

    "KEY" alone takes the image's away, as Docker does.
    """
    own = {entry.partition(b"=")[0]: entry for entry in given}
    images = {entry.partition(b"=")[0]: entry for entry in (item.encode() for item in image or [])}
    return [entry for key, entry in (own | {key: images[key] for key in images if key not in own}).items()
            if b"=" in entry]
