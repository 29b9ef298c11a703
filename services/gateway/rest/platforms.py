"""The platform that a request names, as JSON of OCI's: an image here has one, so it is that or there is none."""

from __future__ import annotations

from chassis.errors import NotFound
from gateway.rest.body import decode
from gateway.rest.call import Call
from pier.image.v1 import image_pb2 as pb


def check(call: Call, image: pb.Image) -> None:
    """NotFound where ``platform`` is given and ``image`` is another's; 400 for what is no platform."""
    text = call.query.text("platform")
    if not text:
        return
    given = decode(text.encode("utf-8", "surrogatepass"))
    wanted = [given.text(key) for key in ("os", "architecture", "variant")]
    own = [image.platform.os, image.platform.architecture, image.platform.variant]
    if any(one and one != other for one, other in zip(wanted, own, strict=True)):
        name = call.path.get("name", image.id)
        raise NotFound(
            f"image with reference {name} was found but does not provide the specified platform "
            f"({'/'.join(filter(None, wanted))})",
            reason="PLATFORM", field="platform", expected="/".join(filter(None, own)))
