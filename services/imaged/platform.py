"""Platforms: names, and which of an index's images runs best here (OCI image-spec, image-index.md, "platform")."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

_ARCHITECTURES: Final = {
    "x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "armhf": "arm", "armel": "arm", "armv7l": "arm",
    "armv6l": "arm", "i386": "386", "i686": "386",
}
_MACHINE_VARIANTS: Final = {"armv7l": "v7", "armv6l": "v6", "armel": "v6", "armhf": "v7"}
_LOWEST: Final = {"amd64": 1, "arm": 5, "arm64": 8}
_DEFAULT: Final = {"amd64": 1, "arm": 7, "arm64": 8}


@dataclass(frozen=True)
class Platform:
    """``os``/``architecture``[/``variant``] in Go's words; normal form: the default variant is ""."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return f"{self.os}/{self.architecture}" + (f"/{self.variant}" if self.variant else "")


def normal(os_name: str, architecture: str, variant: str = "") -> Platform:
    """The platform in normal form: ``aarch64`` is arm64, arm64's v8, arm's v7 and amd64's v1 are the default."""
    machine = architecture.lower()
    architecture = _ARCHITECTURES.get(machine, machine)
    variant = (variant or _MACHINE_VARIANTS.get(machine, "")).lower()
    if variant and variant[0] != "v" and variant.isdigit():
        variant = "v" + variant
    if variant == f"v{_DEFAULT.get(architecture, 0)}":
        variant = ""
    return Platform(os_name.lower(), architecture, variant)


def host() -> Platform:
    """This machine's platform; the baseline variant, which everything of its kind runs."""
    return normal("linux", os.uname().machine)


def rank(wanted: Platform, offered: Platform) -> int | None:
    """How well ``offered`` suits ``wanted``: 0 is exact, more is worse, None is not at all.

    An older variant runs on a newer machine: arm v6 on v7, amd64 v1 on v3; never the other way round.
    """
    if (wanted.os, wanted.architecture) != (offered.os, offered.architecture):
        return None
    if wanted.variant == offered.variant:
        return 0
    have, need = _level(wanted), _level(offered)
    if have is None or need is None or need > have or need < _LOWEST[wanted.architecture]:
        return None
    return have - need


def _level(platform: Platform) -> int | None:
    default = _DEFAULT.get(platform.architecture)
    if default is None:
        return None
    if not platform.variant:
        return default
    digits = platform.variant[1:]
    return int(digits) if platform.variant[0] == "v" and digits.isdigit() and len(digits) == 1 else None
