"""Who is called what on which network. Pure: no socket, no clock."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from netd.resolver import wire
from netd.resolver.protocol import Join, Served


class Names:
    """All served sandboxes. ``put`` and ``drop`` keep the indices that ``addresses`` and ``pointer`` look into.

    A sandbox is found by ``name`` and by ``name.network``. The same name may be several sandboxes': all are answered.
    """

    def __init__(self) -> None:
        self._served: dict[str, Served] = {}
        # Network → name → sandbox → (version of the address, its bytes)
        self._forward: dict[str, dict[bytes, dict[str, tuple[tuple[int, bytes], ...]]]] = {}
        # Network → reverse name → (sandbox, name)
        self._reverse: dict[str, dict[bytes, tuple[str, bytes]]] = {}

    def __len__(self) -> int:
        return len(self._served)

    def get(self, id_: str) -> Served | None:
        return self._served.get(id_)

    def put(self, served: Served) -> None:
        """Take that for what the sandbox has, whatever was there."""
        self.drop(served.id)
        self._served[served.id] = served
        for join in served.joins:
            packed = tuple((ip.version, ip.packed) for ip in map(ipaddress.ip_address, join.addresses))
            known = self._forward.setdefault(join.network, {})
            for key in _keys(join):
                known.setdefault(key, {})[served.id] = packed
            pointer = next((found for text in join.names if (found := _of(join, text))), None)
            if pointer is not None:
                back = self._reverse.setdefault(join.network, {})
                back.update((wire.reverse_name(address), (served.id, pointer)) for address in join.addresses)

    def drop(self, id_: str) -> None:
        """Forget the sandbox; nothing there is no error."""
        served = self._served.pop(id_, None)
        if served is None:
            return
        for join in served.joins:
            known = self._forward.get(join.network, {})
            for key in _keys(join):
                holders = known.get(key, {})
                holders.pop(id_, None)
                if not holders:
                    known.pop(key, None)
            if not known:
                self._forward.pop(join.network, None)
            back = self._reverse.get(join.network, {})
            for key in map(wire.reverse_name, join.addresses):
                if key in back and back[key][0] == id_:  # else the address is another's by now
                    del back[key]
            if not back:
                self._reverse.pop(join.network, None)

    def addresses(self, served: Served, name: bytes, version: int) -> list[bytes] | None:
        """Addresses of that IP version that ``name`` (as it travels, in lower case) has for the sandbox, by the first
        of its networks that knows the name; [] for a name without one, None for a name that is nobody's. May be called
        on any thread."""
        for join in served.joins:
            known = self._forward.get(join.network)
            if known is None:
                continue
            holders = known.get(name)
            for alias, target in join.links:
                if name in (wire.name(alias), _of(join, alias)):
                    holders = known.get(wire.name(target) or b"")
            if holders is not None:
                return [packed for held in list(holders.values()) for kind, packed in held if kind == version]
        return None

    def pointer(self, served: Served, name: bytes) -> bytes | None:
        """The name, as it travels, that the reverse name ``name`` stands for on one of the sandbox's networks."""
        for join in served.joins:
            found = self._reverse.get(join.network, {}).get(name)
            if found is not None:
                return found[1]
        return None


def _keys(join: Join) -> Iterator[bytes]:
    for text in join.names:
        for key in (wire.name(text), _of(join, text)):
            if key is not None:
                yield key


def _of(join: Join, text: str) -> bytes | None:
    return wire.name(f"{text.removesuffix('.')}.{join.network_name}")
