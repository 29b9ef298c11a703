"""The registry of an image's name, as this imaged is configured to speak to it."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from chassis.errors import InvalidArgument
from chassis.stages import stage
from imaged import manifest, reference, registry_hosts
from imaged.registry_hosts import Hosts
from imaged.state import State
from pier.image.v1 import image_pb2 as pb

if TYPE_CHECKING:
    from imaged.registry import RegistryClient
    from imaged.registry_mirrors import Sources
    from imaged.registry_push import Uploader

C = TypeVar("C", bound="RegistryClient")


@asynccontextmanager
async def pulling(state: State, domain: str, auth: pb.RegistryAuth) -> AsyncIterator[Sources]:
    """Whoever answers for the registry at ``domain`` (as it stands in front of an image's name), for one pull."""
    settings = state.settings
    hosts = await state.files.run(registry_hosts.read, settings.registry_hosts, domain)
    registry = await state.files.run(importlib.import_module, "imaged.registry")  # 0.2 s, off the loop
    mirrors = await state.files.run(importlib.import_module, "imaged.registry_mirrors")
    clients = []
    try:
        # Credentials are the registry's: others are asked by nobody in particular.
        clients += [registry.RegistryClient(
            domain, pb.RegistryAuth(), endpoint=mirror, mirrors=domain, timeout=settings.registry_timeout,
            certificates=settings.registry_certificates) for mirror in hosts.mirrors]
        clients.append(_client(state, registry.RegistryClient, domain, auth, hosts))
        yield mirrors.Sources(clients)
    finally:
        for client in clients:
            await client.close()


@asynccontextmanager
async def connected(state: State, domain: str, auth: pb.RegistryAuth) -> AsyncIterator[Uploader]:
    """A client of the registry at ``domain`` itself, for one push or login."""
    hosts = await state.files.run(registry_hosts.read, state.settings.registry_hosts, domain)
    module = await state.files.run(importlib.import_module, "imaged.registry_push")
    client: Uploader = _client(state, module.Uploader, domain, auth, hosts)
    client.chunk = state.settings.push_chunk_bytes
    try:
        yield client
    finally:
        await client.close()


def _client(state: State, kind: type[C], domain: str, auth: pb.RegistryAuth, hosts: Hosts) -> C:
    settings = state.settings
    return kind(
        domain, auth, insecure=frozenset(filter(None, settings.insecure_registries.split(","))),
        timeout=settings.registry_timeout, certificates=settings.registry_certificates, endpoint=hosts.server)


async def remote_tags(state: State, request: pb.ListRemoteTagsRequest) -> pb.ListRemoteTagsResponse:
    """The tags of a repository. InvalidArgument (BAD_REFERENCE) where the reference says more than that."""
    named = reference.parse(request.repository, "repository")
    if named.tag or named.digest:
        raise InvalidArgument("repository: it has a tag or digest", reason="BAD_REFERENCE", field="repository",
                              expected="[host[:port]/]path")
    async with stage("remote_tags.read", repository=named.familiar_name):
        async with pulling(state, named.domain, request.auth) as sources:
            return pb.ListRemoteTagsResponse(tags=await sources.tags(named))


async def remote_image(state: State, request: pb.GetRemoteImageRequest) -> pb.GetRemoteImageResponse:
    """What the registry has under the reference. NotFound, Unauthenticated."""
    named = reference.parse(request.reference).with_default_tag()
    async with stage("remote_image.read", reference=named.familiar):
        async with pulling(state, named.domain, request.auth) as client:
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
