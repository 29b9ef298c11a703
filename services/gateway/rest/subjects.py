"""What a request is about, as the facts of its trace: the container, image, network or volume that it names."""

from __future__ import annotations

from typing import Final

from gateway.rest import names
from gateway.rest.call import Call

_MOST: Final = 256
"""Characters of a fact: names are the client's."""
_NOUNS: Final = (
    ("/containers/", "container"), ("/images/", "image"), ("/networks/", "network"), ("/volumes/", "volume"),
)


def of(pattern: str, call: Call) -> dict[str, str]:
    """The facts; several images (a build's tags, a save's) stand apart by spaces."""
    found = {}
    if pattern == "/containers/create":
        found["container"] = call.query.text("name")
    elif pattern == "/images/create":
        source = call.query.text("fromImage") or call.query.text("repo")
        found["image"] = names.joined(source, call.query.text("tag")) if source else ""
    elif pattern == "/build":
        found["image"] = " ".join(call.query.all("t"))
    elif pattern == "/images/get":
        found["image"] = " ".join(call.query.all("names"))
    elif name := call.path.get("name", call.path.get("id", "")):
        noun = next((noun for prefix, noun in _NOUNS if pattern.startswith(prefix)), "id")
        found[noun] = names.joined(name, call.query.text("tag")) if noun == "image" else name
    return {key: value[:_MOST] for key, value in found.items() if value}
