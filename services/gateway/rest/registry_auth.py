"""The header X-Registry-Auth: base64 of a JSON object with credentials for one registry.

As in Docker, what cannot be decoded counts as no credentials: the registry then says what it lacks.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final

import msgspec

from pier.image.v1 import image_pb2 as pb

_HUB: Final = ("", "index.docker.io", "docker.io", "registry-1.docker.io", "registry.hub.docker.com")


class AuthConfig(msgspec.Struct, rename="lower"):
    """Docker's AuthConfig. ``auth`` is base64 of "user:password", in place of the two."""

    username: str = ""
    password: str = ""
    auth: str = ""
    identitytoken: str = ""
    registrytoken: str = ""
    serveraddress: str = ""


def decode(header: str) -> pb.RegistryAuth:
    """The credentials in ``header`` (either alphabet, with or without padding); empty for none."""
    raw = from_base64(header)
    if raw is None:
        return pb.RegistryAuth()
    try:
        return credentials(msgspec.json.decode(raw, type=AuthConfig))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return pb.RegistryAuth()


def credentials(config: AuthConfig) -> pb.RegistryAuth:
    """What imaged is told."""
    username, password = config.username, config.password
    if not username and not password and (pair := from_base64(config.auth)):
        username, _, password = pair.decode(errors="replace").partition(":")
    return pb.RegistryAuth(
        username=username, password=password, identity_token=config.identitytoken, registry_token=config.registrytoken
    )


def registry_of(address: str) -> str:
    """Host and port of a server's address, with or without scheme and path; "" for Docker Hub."""
    host = address.strip().removeprefix("https://").removeprefix("http://").partition("/")[0]
    return "" if host in _HUB else host


def from_base64(text: str) -> bytes | None:
    """What ``text`` holds, in either alphabet, with or without padding; None for what is no base64."""
    plain = text.strip().rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
