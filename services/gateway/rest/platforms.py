"""Platforms that a request names, as JSON of OCI's: an image here has one, so it is that or there is none."""

from __future__ import annotations

from typing import Final

from chassis.errors import NotFound
from gateway.rest.body import Fields, decode
from gateway.rest.call import Call
from gateway.rest.errors import bad
from gateway.rest.versions import Version
from pier.image.v1 import image_pb2 as pb

_SEVERAL_SINCE: Final = Version(1, 52)


def check(call: Call, image: pb.Image, *, several: bool = False) -> None:
    """NotFound where ``platform`` is given and ``image`` is another's; 400 for what is no platform. ``several`` may be
    given where an archive is asked for, since API 1.52: one of them is the image's."""
    texts = [text for text in call.query.all("platform") if text]
    if several and len(texts) > 1 and call.version < _SEVERAL_SINCE:
        raise bad("multiple platform parameters are not supported in this API version; use API version 1.52 or later",
                  field="platform")
    wanted = [decode(text.encode("utf-8", "surrogatepass")) for text in (texts if several else texts[:1])]
    if not wanted or any(_is(image, each) for each in wanted):
        return
    name = call.path.get("name", image.id)
    raise NotFound(
        f"image with reference {name} was found but does not provide the specified platform "
        f"({', '.join(map(_shown, wanted))})", reason="PLATFORM", field="platform",
        expected="/".join(filter(None, (image.platform.os, image.platform.architecture, image.platform.variant))))


def _is(image: pb.Image, wanted: Fields) -> bool:
    return all(wanted.text(key) in ("", getattr(image.platform, key)) for key in ("os", "architecture", "variant"))


def _shown(platform: Fields) -> str:
    return "/".join(filter(None, (platform.text(key) for key in ("os", "architecture", "variant"))))
