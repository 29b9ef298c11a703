"""The life of a service process: configuration, lock, logs, metrics, server, signals, graceful stop.

A service's ``__main__`` calls ``main("netd", NetdSettings, build, "what it is")``. ``build(runtime)`` is an async
context manager: it opens the service's state, finishes or undoes what an earlier life left, adds servicers to
``runtime.server`` and yields, and only then health says SERVING; after the yield it closes what it opened.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, Generic, NoReturn

from google.protobuf.message import DecodeError

from chassis import config, context, door, host, ids, listening, logs, metrics, stages
from chassis.audit import Audit
from chassis.config import S
from chassis.errors import Internal, InvalidArgument, PierError, Unavailable, Unimplemented
from chassis.events import EventLog
from chassis.guard import Guard
from chassis.instance import Instance, make_private
from chassis.listening import Listener
from chassis.logs import logger
from chassis.operations import Operations
from chassis.reload import Reload, Reloaded
from chassis.roles import Roles
from chassis.server import EXPERIMENTS, Server, full_disk
from chassis.tls_files import TlsFiles
from chassis.version import VERSION
from pier.system.v1 import system_pb2, system_pb2_grpc

_GRACE: Final = 5.0

Fsck = Callable[[bool], Awaitable[list[system_pb2.Finding]]]


_HTTP2: Final = ("h2",)


@dataclass
class Runtime(Generic[S]):
    """What a service is built with. ``epoch``, ``facts``, ``fsck`` and ``events`` are set by ``build``, which hears of
    new settings from ``reload``.

    ``addresses`` are where its gRPC server is reached besides its own socket, ``passed`` the sockets that it was
    started with: those that ``build`` leaves there lead to that server, too.
    """

    service: str
    reload: Reload[S]
    instance: Instance
    state: Path
    run: Path
    node_id: str
    boot_id: str
    server: Server
    guard: Guard
    addresses: tuple[str, ...]
    passed: list[Listener]
    started_ns: int = field(default_factory=time.time_ns)
    epoch: str = ""
    facts: dict[str, str] = field(default_factory=dict)
    fsck: Fsck | None = None
    events: EventLog | None = None
    operations: Operations = field(default_factory=Operations)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def settings(self) -> S:
        """Those that count now."""
        return self.reload.current.settings


Build = Callable[[Runtime[S]], AbstractAsyncContextManager[None]]


async def reload_configuration(runtime: Runtime[Any]) -> Reloaded:
    """Read the configuration again, and tell of it in the log and by an event. InvalidArgument: it stays as it was."""
    try:
        found = await runtime.reload.again()
    except PierError as error:
        logger().error("the configuration stays as it was", reason=error.reason, field=error.field, error=error.message)
        raise
    logger().info("the configuration is read again", changed={value.key: value.value for value in found.changed})
    for key in found.needs_restart:
        logger().warning("a setting needs a restart", key=key)
    if runtime.events is not None:
        counts = {value.key: value.value for value in runtime.reload.values if value.key in runtime.reload.live}
        await runtime.events.tell("reload.tell", "daemon", "reload", runtime.node_id,
                                  {**counts, "name": socket.gethostname(), "service": runtime.service})
    return found


class _System(system_pb2_grpc.SystemServiceServicer):
    """pier.system.v1.SystemService for one runtime."""

    def __init__(self, runtime: Runtime[Any]) -> None:
        self._runtime = runtime

    async def Info(self, request: system_pb2.InfoRequest, context: Any) -> system_pb2.InfoResponse:
        runtime = self._runtime
        answer = system_pb2.InfoResponse(
            service=runtime.service, version=VERSION, instance=runtime.instance.name, node_id=runtime.node_id,
            boot_id=runtime.boot_id, epoch=runtime.epoch, pid=os.getpid(), facts=runtime.facts,
        )
        answer.started_at.FromNanoseconds(runtime.started_ns)
        return answer

    async def Config(self, request: system_pb2.ConfigRequest, context: Any) -> system_pb2.ConfigResponse:
        return system_pb2.ConfigResponse(
            values=[
                system_pb2.ConfigValue(key=item.key, value=item.value, source=item.source)
                for item in self._runtime.reload.values
            ]
        )

    async def Reload(self, request: system_pb2.ReloadRequest, context: Any) -> system_pb2.ReloadResponse:
        runtime = self._runtime
        found = await runtime.operations.run(f"reload:{ids.new_id()}", b"", lambda: reload_configuration(runtime))
        return system_pb2.ReloadResponse(
            changed=[
                system_pb2.ConfigValue(key=item.key, value=item.value, source=item.source) for item in found.changed
            ],
            needs_restart=found.needs_restart,
        )

    async def Fsck(self, request: system_pb2.FsckRequest, context: Any) -> system_pb2.FsckResponse:
        if self._runtime.fsck is None:
            raise Unimplemented(f"{self._runtime.service} keeps nothing that could be checked", reason="STATELESS")
        return system_pb2.FsckResponse(findings=await self._runtime.fsck(request.repair))


def main(service: str, cls: type[S], build: Build[S], text: str) -> NoReturn:
    """Run the service until SIGTERM or SIGINT, and exit: 0, or 1 where it could not start (the log says why)."""
    # One that comes before it is looked at has nothing to tell that is not read anyway. Not SIG_IGN, which would be
    # inherited by programs.
    signal.signal(signal.SIGHUP, lambda _number, _frame: None)
    load = partial(config.load, service, cls, sys.argv[1:], text=text)
    try:
        loaded = load()
        logs.configure(service, loaded.instance.name, loaded.settings.log_level)
    except PierError as error:
        logs.configure(service, "")
        logger().error("cannot run", reason=error.reason, error=error.message)
        sys.exit(1)
    stages.configure(service)
    os.umask(0o077)
    os.environ.setdefault("GRPC_EXPERIMENTS", EXPERIMENTS)
    try:
        asyncio.run(_serve(service, Reload(load, loaded), loaded.instance, build))
    except PierError as error:
        logger().error("cannot run", reason=error.reason, error=error.message)
    except DecodeError as error:
        where = loaded.instance.state(service)
        logger().error("cannot run", reason="DATABASE_DAMAGED", error=f"{where}: a record cannot be read: {error}",
                       exc_info=error)
    except Exception as error:  # noqa: BLE001 - the border: whatever it is, the log's last line says why
        refusal = full_disk(error) or Internal(f"{type(error).__name__}: {error}")
        logger().error("cannot run", reason=refusal.reason, error=refusal.message, exc_info=error)
    else:
        sys.exit(0)
    sys.stdout.flush()
    sys.stderr.flush()
    # At once: a thread of gRPC's that outlives its server has Python 3.13 write "Error in sys.excepthook" behind the
    # log's last line.
    os._exit(1)


async def _serve(service: str, configured: Reload[S], instance: Instance, build: Build[S]) -> None:
    context.adopt(None)
    for directory in (instance.root, instance.state(service), instance.runtime(service)):
        make_private(directory)
    lock = _lock(instance.state(service))
    try:
        settings = configured.current.settings
        port = settings.metrics_port
        metrics.serve(service, instance.name, instance.metrics_port(service) if port < 0 else port)
        _check_roles(settings)
        audit = Audit(instance.state(service) / "audit.log")
        guard = Guard(Roles(settings.roles), audit, tells_own=service == "gateway")
        runtime = Runtime(
            service=service, reload=configured, instance=instance,
            state=instance.state(service), run=instance.runtime(service), node_id=host.node_id(instance.root),
            boot_id=host.boot_id(), server=Server(guard), guard=guard, addresses=settings.listen,
            passed=listening.passed(),
        )
        metrics.gauge("pier_state_free_bytes", "Bytes that may still be written where the service keeps its state.",
                      lambda: _free_bytes(runtime.state))
        metrics.gauge("pier_sockets_present", "1 while the service's sockets are where clients look for them.",
                      lambda: _are_present(service, instance))
        configured.follow(_follow_level)
        configured.follow(partial(_follow_roles, guard.roles))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, runtime.stopping.set)
        runtime.server.add(
            system_pb2_grpc.add_SystemServiceServicer_to_server, _System(runtime), "pier.system.v1.SystemService"
        )
        async with build(runtime):
            await runtime.server.start(instance.socket(service))
            doors = _doors(runtime)
            async with doors.serving():
                await runtime.server.ready()
                logger().info("serving", version=VERSION, socket=str(instance.socket(service)))
                _notify_ready()
                # Not before all is there that follows new settings.
                loop.add_signal_handler(
                    signal.SIGHUP, lambda: runtime.operations.spawn("reload", partial(_hup, runtime)))
                await runtime.stopping.wait()
                logger().info("stopping")
                loop.remove_signal_handler(signal.SIGHUP)
                await runtime.operations.close()
                doors.accept_no_more()
                await runtime.server.stop(_GRACE)
    finally:
        os.close(lock)


def _doors(runtime: Runtime[Any]) -> door.Doors:
    """Where the gRPC server is reached besides its own socket."""
    tls_files = tls_of(runtime, _HTTP2)
    listeners = listening.opened(runtime.addresses, runtime.passed)
    adopt = door.to_grpc(runtime.instance.socket(runtime.service), runtime.guard.callers)
    return door.Doors(listeners, tls_files, adopt)


def tls_of(runtime: Runtime[Any], protocols: Sequence[str] = ()) -> TlsFiles | None:
    """As the settings say, for one of the service's doors; read again at each reload."""
    files = TlsFiles.of(runtime.settings, protocols)
    if files is not None:
        runtime.reload.follow(lambda _: files.prepare())
    return files


async def _hup(runtime: Runtime[Any]) -> None:
    with contextlib.suppress(PierError):  # the log has it
        await reload_configuration(runtime)


def _follow_level(settings: config.Settings) -> Callable[[], None]:
    logs.check_level(settings.log_level)
    return partial(logs.set_level, settings.log_level)


def _follow_roles(roles: Roles, settings: config.Settings) -> Callable[[], None]:
    _check_roles(settings)
    return roles.prepare(settings.roles)


def _check_roles(settings: config.Settings) -> None:
    if settings.roles and not settings.tls_ca:
        raise InvalidArgument("roles: certificates are shown by TLS alone", reason="BAD_SETTING", field="roles",
                              expected="tls_ca, tls_cert and tls_key, too")


def _free_bytes(state: Path) -> int:
    found = os.statvfs(state)
    return found.f_bavail * found.f_frsize


def _are_present(service: str, instance: Instance) -> bool:
    """Its gRPC socket, and for the gateway its faces': whoever cleans the run directory cuts new clients off."""
    faces = (instance.api_socket, instance.engine_socket) if service == "gateway" else ()
    return all(path.exists() for path in (instance.socket(service), *faces))


def _lock(state: Path) -> int:
    """Hold the state directory for this process's life: two servers could bind one socket path without an error."""
    fd = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise Unavailable(f"{state}: another process of this service holds it", reason="LOCKED") from None
    return fd


def _notify_ready() -> None:
    """Tell systemd, where it started us, that we serve (sd_notify(3), READY=1)."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
        notify.sendto(b"READY=1", address)
