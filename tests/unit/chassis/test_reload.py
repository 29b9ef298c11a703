"""A configuration that is read again: what may change does, what may not is named, a mistake changes nothing."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from chassis import config, logs
from chassis.caller import Caller, Certificate
from chassis.client import Peer
from chassis.config import Settings, option
from chassis.errors import InvalidArgument
from chassis.reload import Reload
from chassis.roles import Role, Roles
from chassis.tls_files import TlsFiles
from pier.system.v1 import system_pb2, system_pb2_grpc
from tests import certificates
from tests.unit.chassis.test_service import start, wait_serving


@dataclass(frozen=True)
class Sample(Settings):
    size: int = option(3, "a size", live=True)
    place: str = option("here", "a place")


class Configured:
    """A Reload over a file, and what its followers were told."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "c.toml"
        self.file.write_text("")
        load = partial(config.load, "sample", Sample, ["--config", str(self.file)], {})
        self.reload = Reload(load, load())
        self.told: list[int] = []
        self.reload.follow(lambda settings: partial(self.told.append, settings.size))

    def write(self, text: str) -> None:
        self.file.write_text(f"[sample]\n{text}\n")

    def values(self) -> dict[str, tuple[str, str]]:
        return {value.key: (value.value, value.source) for value in self.reload.values}


@pytest.fixture
async def configured(tmp_path: Path) -> Configured:
    return Configured(tmp_path)


async def test_what_may_change_counts_and_what_may_not_is_named(configured: Configured) -> None:
    current = configured.reload.current
    configured.write('size = 4\nplace = "there"')
    found = await configured.reload.again()
    assert [(value.key, value.value) for value in found.changed] == [("size", "4")]
    assert found.needs_restart == ("place",)
    assert (current.settings.size, current.settings.place) == (4, "here")
    assert configured.values()["size"] == ("4", f"file {configured.file}")
    assert configured.values()["place"] == ("here", "default")
    assert configured.told == [4]
    assert (await configured.reload.again()).needs_restart == ("place",)  # as long as it differs


async def test_a_line_that_is_taken_out_brings_the_default_back(configured: Configured) -> None:
    configured.write("size = 4")
    await configured.reload.again()
    configured.write("")
    found = await configured.reload.again()
    assert [(value.value, value.source) for value in found.changed] == [("3", "default")]


@pytest.mark.parametrize(("text", "field"), [
    ('size = "x"', "size"), ("size = 4\nnope = 1", "nope"), ("[", "config"),
    ('log_level = "loud"\nsize = 4', "log_level"),
])
async def test_a_mistake_changes_nothing_and_is_named(configured: Configured, text: str, field: str) -> None:
    configured.reload.follow(_judge_level)
    configured.write(text)
    before = configured.values()
    with pytest.raises(InvalidArgument) as caught:
        await configured.reload.again()
    assert caught.value.field == field
    assert (configured.told, configured.values()) == ([], before)
    assert configured.reload.current.settings == Sample()


def _judge_level(settings: Settings) -> Callable[[], None]:
    logs.check_level(settings.log_level)
    return lambda: None


async def test_reloads_come_one_after_the_other_and_each_reads_what_was_written_before_it(
    configured: Configured
) -> None:
    configured.write("size = 4")
    first = asyncio.create_task(configured.reload.again())
    await asyncio.sleep(0)  # it is on its way
    configured.write("size = 5")
    await asyncio.gather(first, configured.reload.again())
    assert configured.reload.current.settings.size == 5


def test_another_file_of_roles_counts_when_it_was_read(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text('default = "none"\n')
    roles = Roles(str(one))
    who = Caller(address="192.0.2.1:1", certificate=Certificate("x", (), ()))
    with pytest.raises(InvalidArgument, match="roles"):
        roles.prepare(str(other))
    other.write_text('default = "operator"\n')
    apply = roles.prepare(str(other))
    assert roles.of(who) is Role.NONE
    apply()
    assert roles.of(who) is Role.OPERATOR


def test_certificates_that_do_not_belong_together_are_refused_and_the_old_ones_go_on(tmp_path: Path) -> None:
    certificate, key = certificates.make(tmp_path, "server", "192.0.2.1")
    files = TlsFiles(str(certificate), str(certificate), str(key))
    old = files.context()
    good = key.read_bytes()
    key.write_text("nonsense")
    with pytest.raises(InvalidArgument, match="tls_cert"):
        files.prepare()
    key.write_bytes(good)
    files.prepare()()
    assert files.context() is not old


@dataclass
class Running:
    """A service with a file of its own, and its gRPC face."""

    process: subprocess.Popen[str]
    file: Path
    peer: Peer

    async def reload(self) -> Any:
        stub = system_pb2_grpc.SystemServiceStub(self.peer.channel)
        return await self.peer.call(stub.Reload, system_pb2.ReloadRequest())

    async def line(self, event: str) -> str:
        """The next line of the log that tells of ``event``."""

        def read() -> str:
            assert self.process.stderr
            return next(line for line in self.process.stderr if f'"event": "{event}"' in line)

        return await asyncio.wait_for(asyncio.to_thread(read), 30)


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Running]:
    file = tmp_path / "c.toml"
    file.write_text("")
    process = start(tmp_path, "--config", str(file))
    wait_serving(process)
    peer = Peer("netd", tmp_path / "run" / "netd.sock")
    yield Running(process, file, peer)
    await peer.close()
    process.terminate()
    assert process.wait(10) == 0
    process.stderr.close()


async def test_a_signal_has_the_file_read_and_the_log_tell_of_it(service: Running) -> None:
    service.file.write_text('[netd]\nlog_level = "debug"\nmetrics_port = 9\nroot = "/elsewhere"\n')
    service.process.send_signal(signal.SIGHUP)
    assert '"log_level": "debug"' in await service.line("the configuration is read again")
    service.file.write_text('[netd]\nlog_level = "loud"\n')
    service.process.send_signal(signal.SIGHUP)
    told = await service.line("the configuration stays as it was")
    assert '"field": "log_level"' in told
    assert "is not debug, info, warning or error" in told


async def test_a_call_answers_with_what_counts_now_and_what_needs_a_restart(service: Running) -> None:
    service.file.write_text('[netd]\nlog_level = "debug"\nlisten = ["tcp://127.0.0.1:1"]\n')
    answer = await service.reload()
    assert [(item.key, item.value) for item in answer.changed] == [("log_level", "debug")]
    assert list(answer.needs_restart) == ["listen"]
    assert await service.line("stage")  # a line of level debug
    assert '"key": "listen"' in await service.line("a setting needs a restart")
    service.file.write_text('[netd]\nroles = "/nowhere"\n')
    with pytest.raises(InvalidArgument, match="roles: certificates are shown by TLS alone"):
        await service.reload()
