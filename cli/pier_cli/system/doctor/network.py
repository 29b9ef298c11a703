"""Forwarding, and the rules and daemons of others that packets of containers meet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from pier_cli.system import nftables
from pier_cli.system.doctor.check import Check, advice, failure, ok, warning
from pier_cli.system.doctor.files import Files

AREA: Final = "network"
_DAEMONS: Final = {
    "dockerd": "Docker", "containerd": "containerd", "podman": "Podman", "firewalld": "firewalld",
    "kubelet": "Kubernetes", "cri-dockerd": "Kubernetes", "crio": "CRI-O", "lxd": "LXD", "nftables": "nftables",
}
_IP_FAMILIES: Final = ("ip", "ip6", "inet")


@dataclass(frozen=True)
class Chain:
    """A base chain of the forward hook; ``drops`` by policy what no rule of it accepts."""

    family: str
    table: str
    name: str
    drops: bool


def checks(files: Files, own_table: str, serving: bool) -> Iterator[Check]:
    """``own_table``: the instance's nft table; ``serving``: whether netd has had its say."""
    yield _forwarding(files, serving)
    yield _protocols(files)
    yield from _bridge_calls(files)
    yield from _daemons(files)
    try:
        tables, chains = ruleset()
    except (OSError, ValueError, KeyError) as error:
        yield warning(AREA, "rules of others", f"cannot be read: {error}", "run as root; install libnftables1, load "
                      "the module nf_tables")
        return
    yield from of_others(tables, chains, own_table)
    yield from _legacy(files)


def _forwarding(files: Files, serving: bool) -> Check:
    value = files.text("/proc/sys/net/ipv4/ip_forward")
    if value == "1":
        return ok(AREA, "IP forwarding", "on")
    if serving:
        return warning(AREA, "IP forwarding", "off though netd serves",
                       "somebody has turned it off since, and containers reach nobody outside: sysctl "
                       "net.ipv4.ip_forward=1, and look for who sets it in /etc/sysctl.d")
    return ok(AREA, "IP forwarding", "off; netd turns it on with its first network")


def _protocols(files: Files) -> Check:
    """libnftables lists a protocol by number where nothing names it."""
    if "tcp" in files.text("/etc/protocols").split():
        return ok(AREA, "protocol names", "/etc/protocols")
    return failure(AREA, "protocol names", "no /etc/protocols", "netd cannot prove its table without it, and does not "
                   "start once a port is published: apt-get install netbase")


def _bridge_calls(files: Files) -> Iterator[Check]:
    if files.text("/proc/sys/net/bridge/bridge-nf-call-iptables") == "1":
        yield advice(AREA, "bridge-nf-call-iptables", "1", "packets within one network go through everybody's forward "
                     "chains, too: netd counts with it, other programs' rules may not")


def _daemons(files: Files) -> Iterator[Check]:
    found = sorted({_DAEMONS[name] for _, name in files.programs() if name in _DAEMONS})
    if found:
        yield advice(AREA, "other engines", ", ".join(found) + " runs", "they may live side by side; a published port "
                     "can be taken by either, and `pier network explain CONTAINER PORT` names the rule that decides")
    else:
        yield ok(AREA, "other engines", "none runs")


def of_others(tables: Iterable[tuple[str, str]], chains: Iterable[Chain], own: str) -> Iterator[Check]:
    """``tables`` are (family, name)."""
    foreign = sorted({f"{family} {name}" for family, name in tables if not _is_ours(name)})
    yield ok(AREA, "rules of others", ", ".join(foreign)[:300] or "no nft table")
    dropping = [chain for chain in chains if chain.drops and not _is_ours(chain.table) and chain.table != own]
    for chain in dropping:
        yield warning(
            AREA, "forward policy", f"{chain.family} {chain.table} {chain.name} drops what it does not accept",
            "netd adds its accepts where there is a chain DOCKER-USER; elsewhere (firewalld, ufw, a ruleset of your "
            "own) accept what comes from and goes to the bridges pier* there, or containers are cut off",
        )


def _is_ours(table: str) -> bool:
    return table == "pier" or table.startswith("pier-")


def _legacy(files: Files) -> Iterator[Check]:
    names = files.text("/proc/net/ip_tables_names").split()
    if names:
        yield advice(AREA, "iptables-legacy", ", ".join(names), "its rules cannot be seen by netd, nor by pier network "
                     "explain: move them to iptables-nft")


def ruleset() -> tuple[list[tuple[str, str]], list[Chain]]:
    """All nft tables of the host as (family, name), and the base chains of the forward hook that IP packets pass."""
    tables = [(str(body["family"]), str(body["name"])) for kind, body in nftables.listing("tables") if kind == "table"]
    chains = [
        Chain(str(body["family"]), str(body["table"]), str(body["name"]), body.get("policy") == "drop")
        for kind, body in nftables.listing("chains")
        if kind == "chain" and body.get("hook") == "forward" and body["family"] in _IP_FAMILIES
    ]
    return tables, chains
