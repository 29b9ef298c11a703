"""The report, which is also what the agent remembers: where it was with each node is in the last line about it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from pier.types.v1 import types_pb2


class Report:
    """The file at ``path``. A line that was being written when the agent died is no line: it is cut off."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._seen: dict[str, types_pb2.Cursor] = {}
        whole = 0
        with open(self._fd, "rb", closefd=False) as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                whole += len(line)
                self._note(json.loads(line))
        os.ftruncate(self._fd, whole)
        os.lseek(self._fd, whole, os.SEEK_SET)

    def seen(self, node: str) -> types_pb2.Cursor | None:
        """The cursor of the last event of the node's that was reported; None for none yet."""
        return self._seen.get(node)

    def event(self, node: str, event: types_pb2.Event) -> None:
        """Durable when this returns."""
        self._append({
            "node": node, "kind": "event", "epoch": event.cursor.epoch, "sequence": event.cursor.sequence,
            "time": event.time.ToJsonString(), "type": event.type, "action": event.action, "id": event.id,
            "attributes": dict(event.attributes),
        })

    def prewarmed(self, node: str, image: str, digest: str) -> None:
        self._append({"node": node, "kind": "prewarmed", "image": image, "digest": digest})

    def failed(self, node: str, image: str, reason: str) -> None:
        self._append({"node": node, "kind": "failed", "image": image, "reason": reason})

    def gap(self, node: str) -> None:
        """What comes next from the node is not kept any more: following begins anew with what is."""
        self._append({"node": node, "kind": "gap"})

    def close(self) -> None:
        os.close(self._fd)

    def _append(self, line: dict[str, Any]) -> None:
        data = json.dumps(line).encode() + b"\n"
        while data:
            data = data[os.write(self._fd, data):]
        os.fdatasync(self._fd)
        self._note(line)

    def _note(self, line: dict[str, Any]) -> None:
        if line["kind"] == "event":
            self._seen[line["node"]] = types_pb2.Cursor(epoch=line["epoch"], sequence=line["sequence"])
        elif line["kind"] == "gap":
            self._seen.pop(line["node"], None)
