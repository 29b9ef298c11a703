"""The services: which answer, of which version, what they found out about the platform, and what their fsck finds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from chassis.client import Peer
from chassis.errors import PierError
from chassis.instance import Instance
from pier.system.v1 import system_pb2
from pier_cli.system import silence
from pier_cli.system.doctor import limits
from pier_cli.system.doctor.check import Check, advice, failure, ok, warning
from pier_cli.system.doctor.files import Files
from pier_cli.system.services import STATUS_TIMEOUT, ask, system_stub
from pier_cli.system.status import SERVING, Row

AREA: Final = "services"
FINDINGS: Final = "findings"
_FSCK_TIMEOUT: Final = 10.0
_SHOWN: Final = 5
_BY_REASON: Final = {
    "DATABASE_DAMAGED": "stop it, keep a copy of the file, bring back a backup or what `sqlite3 FILE .recover` saves; "
                        "running containers go on meanwhile",
    "NEWER_SCHEMA": "a newer Pier has been here: install that version again, or bring back a backup of before",
    "LOCKED": "another process of this service holds its state directory: end that one, or this supervisor",
    "NO_SPACE": "make room on the disk of the state directory; it starts by itself then",
    "PORT_TAKEN": "another program has its metrics port: set metrics_port in /etc/pier/, or end the other",
    "BAD_CONFIG": "correct the setting that is named, in /etc/pier/",
}
_BY_HEALTH: Final = {
    silence.DEAD: "its supervisor starts it again by itself; where it does not: pier system up, or systemctl start "
                  "pier-SERVICE. Why it ended: LOG",
    silence.HUNG: "kill -9 it: its supervisor starts it again, and no container notices",
    silence.CUT_OFF: "kill it: its supervisor starts it again with a new socket, and no container notices",
}
_HELPERS: Final = {
    "zygote": "execd starts one when it needs a shim; its log says why the supervisor's ended",
    "resolver": "names of containers are not found meanwhile; netd connects again by itself when it is back",
}


async def facts(engine: Instance) -> Mapping[str, Any]:
    """Each service's InfoResponse, or the PierError in its place."""

    async def question(peer: Peer) -> Any:
        return await peer.call(system_stub(peer).Info, system_pb2.InfoRequest(), timeout=STATUS_TIMEOUT)

    return await ask(engine, question)


def of_rows(engine: Instance, rows: list[Row]) -> Iterator[Check]:
    """Their lives, their versions, and how many descriptors they have left."""
    for row in rows:
        if row.health == SERVING:
            yield _descriptors(row)
        else:
            found = f"{row.health}: {row.why}" if row.why else row.health
            yield failure(AREA, row.service, found, _todo(engine, row))
    versions = {row.version for row in rows if row.version}
    if len(versions) > 1:
        told = ", ".join(f"{row.service} {row.version}" for row in rows if row.version)
        yield warning(AREA, "versions", told, "restart those of the older version: pier system down and up, or "
                      "systemctl restart 'pier-*'; containers go on")
    for name, todo in _HELPERS.items():
        yield _helper(engine, name, todo)
    for name, path, unit in (("API socket", engine.api_socket, "pier.socket"),
                             ("gRPC socket", engine.engine_socket, "pier-engine.socket")):
        if not path.exists():
            yield failure(AREA, name, f"no {path}", f"its owner is the launcher, or {unit}: pier system down and up, "
                          f"or systemctl restart {unit}")
        else:
            yield ok(AREA, name, str(path))


def _todo(engine: Instance, row: Row) -> str:
    if by_reason := next((todo for reason, todo in _BY_REASON.items() if f"({reason})" in row.why), None):
        return by_reason
    log = silence.log_of(engine, row.service)
    where = str(log) if log.exists() else f"journalctl -u pier-{row.service}"
    return _BY_HEALTH.get(row.health, "wait, and look again").replace("SERVICE", row.service).replace("LOG", where)


def _descriptors(row: Row) -> Check:
    found = f"version {row.version}, pid {row.pid}"
    share = limits.of_process(Files(), row.pid)
    if share is None:
        return ok(AREA, row.service, found)
    used, most = share
    found += f", {used} of {most} descriptors"
    if limits.scarce(used, most):
        return warning(AREA, row.service, found, "raise LimitNOFILE in its unit, or restart it")
    return ok(AREA, row.service, found)


def _helper(engine: Instance, name: str, todo: str) -> Check:
    """The zygote and the resolver speak no gRPC: that they listen and are not stopped is what can be seen."""
    found = silence.of(engine, name)
    if found.health == silence.HUNG and "was stopped" not in found.why and "waits in" not in found.why:
        return ok(AREA, name, f"pid {found.pid}" if found.pid else "listens")
    return warning(AREA, name, f"{found.health}: {found.why}" if found.why else found.health, todo)


def of_facts(answers: Mapping[str, Any]) -> Iterator[Check]:
    """What execd's probes of the runtimes have shown."""
    for service, answer in answers.items():
        if isinstance(answer, PierError):
            continue
        for key, value in sorted(answer.facts.items()):
            if ", refused: " in value:
                yield failure(AREA, f"{service} {key}", value, "its probe showed containers without the filter that "
                              "they ask for: update the runtime, or take another by --runtime")
            else:
                yield ok(AREA, f"{service} {key}", value)


async def findings(engine: Instance) -> list[Check]:
    """What each service's fsck finds; a service that cannot be asked has its check in ``of_rows``."""

    async def question(peer: Peer) -> Any:
        return await peer.call(system_stub(peer).Fsck, system_pb2.FsckRequest(), timeout=_FSCK_TIMEOUT)

    made = []
    for service, answer in (await ask(engine, question)).items():
        if isinstance(answer, PierError):
            if answer.reason == "DEADLINE_EXCEEDED":
                made.append(advice(FINDINGS, service, f"no answer within {_FSCK_TIMEOUT:.0f} s", "pier system fsck "
                                   "waits longer"))
            continue
        made += [
            warning(FINDINGS, service, f"{item.reason} {item.subject}: {item.message}",
                    "pier system fsck --repair finishes or undoes what can be")
            for item in answer.findings[:_SHOWN]
        ]
        if len(answer.findings) > _SHOWN:
            made.append(warning(FINDINGS, service, f"and {len(answer.findings) - _SHOWN} more", "pier system fsck"))
        elif not answer.findings:
            made.append(ok(FINDINGS, service, "nothing found"))
    return made
