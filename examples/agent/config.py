"""What the agent is told: a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pier_client import Tls


@dataclass(frozen=True)
class Node:
    """``address`` is tcp://HOST:PORT of the node's imaged."""

    name: str
    address: str


@dataclass(frozen=True)
class Config:
    report: Path
    images: tuple[str, ...]
    nodes: tuple[Node, ...]
    tls: Tls


def read(path: Path) -> Config:
    """The configuration in ``path``; KeyError names what is missing::

        report = "/var/lib/agent/report.jsonl"
        images = ["registry.example/app:1"]
        [tls]
        ca = "ca.pem"
        certificate = "agent.pem"
        key = "agent-key.pem"
        [[node]]
        name = "one"
        address = "tcp://192.0.2.1:2380"
    """
    document: Mapping[str, Any] = tomllib.loads(path.read_text())
    tls = document["tls"]
    return Config(
        report=Path(document["report"]), images=tuple(document["images"]),
        nodes=tuple(Node(each["name"], each["address"]) for each in document["node"]),
        tls=Tls(tls["ca"], tls["certificate"], tls["key"]),
    )
