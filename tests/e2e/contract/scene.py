"""What the rows' requests are about: containers in every state, an exec, networks, an image in a registry."""

from __future__ import annotations

import io
import itertools
import json
import tarfile
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from tests.e2e.contract.rows import Row
from tests.e2e.wire import Answer, Wire

_SLEEP = ["sleep", "1000"]


class Scene:
    """Makes what a row names, at the moment at which it is named."""

    def __init__(self, wire: Wire, registry: str) -> None:
        self.wire = wire
        self._registry = registry
        self._numbers = itertools.count()
        self._kept: dict[str, str] = {}
        self._makers: dict[str, Callable[[], str]] = {
            "running": self._once("running", self._run), "created": self._create, "doomed": self._run,
            "terminal": self._once("terminal", lambda: self._run(Tty=True)), "paused": self._run,
            "unpaused": self._pause, "exec": self._exec, "terminal_exec": self._terminal_exec,
            "network": self._network, "connected": self._connect, "registry": lambda: self._registry,
        }

    def send(self, row: Row, prefix: str = "", query: str = "") -> Answer:
        """The answer to the row's request; ``query``, where it is given, stands in place of the row's own."""
        path = self.filled(row.path)
        if query:
            path = f"{path.partition('?')[0]}?{query}"
        sent: Any = None
        if row.body is not None:
            sent = json.loads(self.filled(json.dumps(row.body)))
        if row.raw:
            sent = _context() if row.raw == b"{context}" else row.raw
        headers = {"Content_Type": "application/x-tar"} if row.raw else {}
        return self.wire.call(row.method, prefix + path, sent, **headers)

    def remove_everything(self) -> None:
        """All that the rows have made."""
        for each in self.wire.get("/containers/json?all=1"):
            self.wire.call("DELETE", f"/containers/{each['Id']}?force=1&v=1")
        self._kept.clear()
        self.wire.call("POST", "/networks/prune")
        self.wire.call("POST", "/volumes/prune?filters=" + '{"all":["1"]}'.replace('"', "%22"))
        for image in self.wire.get("/images/json"):
            for reference in {*image["RepoTags"], *image["RepoDigests"]} - {"busybox:latest"}:
                self.wire.call("DELETE", f"/images/{quote(reference)}?force=1")
        self.wire.call("POST", "/images/prune")
        self.wire.call("POST", "/build/prune?all=1")

    def filled(self, text: str) -> str:
        for name, make in self._makers.items():
            if f"{{{name}}}" in text:
                text = text.replace(f"{{{name}}}", make())
        return text

    def _once(self, key: str, make: Callable[[], str]) -> Callable[[], str]:
        def kept() -> str:
            id_ = self._kept.get(key)
            if id_ is None or self.wire.call("GET", f"/containers/{id_}/top").status != 200:
                id_ = self._kept[key] = make()
            return id_

        return kept

    def _create(self, **config: Any) -> str:
        return self.wire.create(Cmd=_SLEEP, StopSignal="KILL", **config)

    def _run(self, **config: Any) -> str:
        id_ = self._create(**config)
        self.wire.post(f"/containers/{id_}/start")
        return id_

    def _pause(self) -> str:
        id_ = self._run()
        self.wire.post(f"/containers/{id_}/pause")
        return id_

    def _exec(self) -> str:
        made = self.wire.post(f"/containers/{self._makers['running']()}/exec", {"Cmd": ["true"]})
        return str(made.json["Id"])

    def _terminal_exec(self) -> str:
        command = {"Cmd": _SLEEP, "Tty": True}
        id_ = str(self.wire.post(f"/containers/{self._makers['running']()}/exec", command).json["Id"])
        self.wire.post(f"/exec/{id_}/start", {"Detach": True})
        return id_

    def _network(self) -> str:
        name = f"net{next(self._numbers)}"
        self.wire.post("/networks/create", {"Name": name})
        self._kept["last network"] = name
        return name

    def _connect(self) -> str:
        """A container on the network that was made last."""
        id_ = self._create()
        self.wire.post(f"/networks/{self._kept['last network']}/connect", {"Container": id_})
        return id_


def _context() -> bytes:
    raw, dockerfile = io.BytesIO(), b"FROM busybox\nLABEL a=b\n"
    with tarfile.open(fileobj=raw, mode="w") as archive:
        info = tarfile.TarInfo("Dockerfile")
        info.size = len(dockerfile)
        archive.addfile(info, io.BytesIO(dockerfile))
    return raw.getvalue()
