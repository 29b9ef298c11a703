"""What netd and the resolver say to each other: one JSON object per message of a SOCK_SEQPACKET socket.

Requests carry ``seq`` and ``verb``; the answer has the same ``seq`` and ``ok``, or ``error``. Verbs:

* ``hello`` {version, after} → {served: ids of the sandboxes that have sockets here, those that come after ``after`` in
  their order, 500 at most}
* ``put`` {sandbox: Served}, with the UDP and the TCP socket as ancillary data unless they are here already, or follow
* ``drop`` {id}: the sandbox's names are gone, its sockets closed; nothing there is no error
* ``retire`` {version}: a successor takes the place. Before the answer comes a message {sandbox: Served} with its two
  sockets for each that is served, if the versions are the same
"""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

VERSION: Final = 1
MESSAGE_MAX: Final = 128 * 1024
PAGE: Final = 500
ADDRESS: Final = "127.0.0.11"


class Join(NamedTuple):
    """A sandbox on a network. ``names``: the first one answers a reverse query. ``links``: alias → name."""

    network: str
    network_name: str
    names: tuple[str, ...]
    addresses: tuple[str, ...]
    links: tuple[tuple[str, str], ...] = ()


class Served(NamedTuple):
    """What a sandbox is answered. ``resolvers`` are addresses, () for the host's; joins in the order of look-up."""

    id: str
    resolvers: tuple[str, ...]
    forward: bool
    joins: tuple[Join, ...] = ()

    def to_json(self) -> dict[str, object]:
        return {
            "id": self.id, "resolvers": self.resolvers, "forward": self.forward,
            "joins": [[j.network, j.network_name, j.names, j.addresses, j.links] for j in self.joins],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Served:
        joins = tuple(
            Join(network, name, tuple(names), tuple(addresses), tuple((alias, target) for alias, target in links))
            for network, name, names, addresses, links in data["joins"]
        )
        return cls(data["id"], tuple(data["resolvers"]), bool(data["forward"]), joins)


def pack(**message: object) -> bytes:
    """A message. ValueError for one that is too long for the socket."""
    data = json.dumps(message, separators=(",", ":")).encode()
    if len(data) > MESSAGE_MAX:
        raise ValueError(f"a message of {len(data)} bytes is longer than {MESSAGE_MAX}")
    return data


def unpack(data: bytes) -> dict[str, Any]:
    """Raises ValueError for bytes that are no message."""
    message = json.loads(data)
    if not isinstance(message, dict):
        raise ValueError("a message is an object")
    return message
