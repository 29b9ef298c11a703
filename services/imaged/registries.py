"""The registry of an image's name, as this imaged is configured to speak to it."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from chassis.errors import InvalidArgument
from chassis.stages import stage
from imaged import reference
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
