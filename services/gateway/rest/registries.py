"""What is asked of a registry alone: credentials tried (POST /auth), an image looked at (GET /distribution)."""

from __future__ import annotations

from typing import Final

import msgspec
from aiohttp import web

from gateway.rest import registry_auth, registry_failures
from gateway.rest.call import Call
from gateway.rest.errors import bad
from gateway.rest.routes import Routes
from pier.image.v1 import image_pb2 as pb

routes: Final = Routes()

_PATIENCE: Final = 60.0


@routes.get("/distribution/{name:.*}/json")
async def distribution(call: Call) -> web.StreamResponse:
    """What the registry has under the name now: its descriptor and platforms."""
    services = call.engine.services
    request = pb.GetRemoteImageRequest(
        reference=call.path["name"], auth=registry_auth.decode(call.http.headers.get("X-Registry-Auth", "")))
    with registry_failures.told():
        answer: pb.GetRemoteImageResponse = await services.imaged.call(
            services.images.GetRemoteImage, request, timeout=_PATIENCE)
    found = answer.descriptor
    return call.json({
        "Descriptor": {"mediaType": found.media_type, "digest": found.digest, "size": found.size},
        "Platforms": [
            {"architecture": each.architecture, "os": each.os} | ({"variant": each.variant} if each.variant else {})
            for each in answer.platforms
        ],
    })


@routes.post("/auth")
async def login(call: Call) -> web.StreamResponse:
    """200 where the registry takes them; 401 where it does not. Nothing of them is kept."""
    try:
        config = msgspec.json.decode(await call.data(64 << 10), type=registry_auth.AuthConfig)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise bad(f"invalid JSON: {error}") from error
    services = call.engine.services
    request = pb.LoginRequest(
        registry=registry_auth.registry_of(config.serveraddress), auth=registry_auth.credentials(config))
    with registry_failures.told():
        await services.imaged.call(services.images.Login, request, timeout=_PATIENCE)
    return call.json({"Status": "Login Succeeded", "IdentityToken": config.identitytoken})
