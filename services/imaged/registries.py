"""The registry of an image's name, as this imaged is configured to speak to it."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from chassis.errors import InvalidArgument
from chassis.stages import stage
from imaged import manifest, reference
from imaged.state import State
from pier.image.v1 import image_pb2 as pb

if TYPE_CHECKING:
    from imaged.registry import RegistryClient


@asynccontextmanager
async def connected(state: State, domain: str, auth: pb.RegistryAuth) -> AsyncIterator[RegistryClient]:
    """A client of the registry at ``domain`` (as it stands in front of an image's name), for one pull or push."""
    module = await state.files.run(importlib.import_module, "imaged.registry")  # 0.2 s, off the loop
    settings = state.settings
    client: RegistryClient = module.RegistryClient(
        domain, auth, insecure=frozenset(filter(None, settings.insecure_registries.split(","))),
        timeout=settings.registry_timeout, certificates=settings.registry_certificates,
    )
    try:
        yield client
    finally:
        await client.close()


async def remote_image(state: State, request: pb.GetRemoteImageRequest) -> pb.GetRemoteImageResponse:
    """What the registry has under the reference. NotFound, Unauthenticated."""
    named = reference.parse(request.reference).with_default_tag()
    async with stage("remote_image.read", reference=named.familiar):
        async with connected(state, named.domain, request.auth) as client:
            top = await client.manifest(named, named.digest or named.tag or reference.DEFAULT_TAG)
            found = manifest.parse(top.raw, top.media_type)
            if isinstance(found, manifest.Manifest):
                raw = await client.small_blob(named, found.config.checked, found.config.size)
                platforms = [manifest.parse_config(raw).platform]
            else:
                platforms = [each.platform.normal() for each in found.manifests if each.platform is not None]
    return pb.GetRemoteImageResponse(
        descriptor=pb.Descriptor(media_type=top.media_type, digest=top.digest, size=len(top.raw)),
        platforms=[pb.Platform(os=each.os, architecture=each.architecture, variant=each.variant) for each in platforms],
    )


async def login(state: State, request: pb.LoginRequest) -> None:
    """Try the credentials. Unauthenticated (REGISTRY_AUTH) where the registry does not take them."""
    try:
        domain = reference.parse(f"{request.registry or reference.DEFAULT_DOMAIN}/x").domain
    except InvalidArgument as error:
        raise InvalidArgument(f"registry: {ascii(request.registry)[:80]} is not a host", reason="BAD_REGISTRY",
                              field="registry", expected="host[:port]") from error
    async with stage("login.check", registry=domain):
        async with connected(state, domain, request.auth) as client:
            await client.check()
