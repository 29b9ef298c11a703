"""Names asked for as people's programs ask: by dig, and by the resolvers of two C libraries, glibc and musl."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from netd.resolver.protocol import ADDRESS
from pier.network.v1 import network_pb2 as net
from tests import tools
from tests.musl import RESOLVE, compiled
from tests.service.netd.engine import Netd, container
from tests.service.netd.test_dns import UPSTREAM, upstream
from tests.service.netd.test_service import path_of

Pair = tuple[net.Sandbox, net.Endpoint]


@pytest.fixture
async def web_and_db(netd: Netd) -> Pair:
    """A sandbox called web, and the endpoint of its neighbour db, on a network of both IP versions."""
    await netd.create_network(7, "blue", enable_ipv6=True)
    web = await netd.create(1, names=["web"], dns=[UPSTREAM])
    await netd.create(2, names=["db"])
    await netd.attach(1, "blue")
    return web, await netd.attach(2, "blue", aliases=["store"])


async def inside(sandbox: net.Sandbox, *command: str) -> str:
    """What a program prints that runs in the sandbox's network namespace."""
    process = await asyncio.create_subprocess_exec(
        "nsenter", f"--net={path_of(sandbox)}", *command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output, _ = await process.communicate()
    return output.decode()


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
async def test_dig_is_answered_with_addresses_names_and_no_such_record(web_and_db: Pair, transport: str) -> None:
    web, db = web_and_db
    dig = [tools.program("dig"), f"@{ADDRESS}", "+tries=1", "+time=2", transport]
    ipv4, ipv6 = db.ipv4.partition("/")[0], db.ipv6.partition("/")[0]
    for name in ("db", "DB.blue", "store", "db.blue."):
        assert await inside(web, *dig, "+short", name, "A") == f"{ipv4}\n"
    assert await inside(web, *dig, "+short", "db", "AAAA") == f"{ipv6}\n"
    for address in (ipv4, ipv6):
        assert await inside(web, *dig, "+short", "-x", address) == "db.blue.\n"
    for kind in ("SRV", "MX", "TXT", "HTTPS"):
        answer = await inside(web, *dig, "db", kind)
        assert "status: NOERROR" in answer
        assert "ANSWER: 0" in answer
    assert "EDNS: version: 0" in await inside(web, *dig, "+edns=0", "+bufsize=1232", "db", "A")
    assert "status: REFUSED" in await inside(web, *dig, "db", "CH", "TXT")


class Program:
    """A command that asks as its C library does, by a resolv.conf as netd renders it."""

    def __init__(self, sandbox: net.Sandbox, resolv_conf: Path, *command: str) -> None:
        self._sandbox, self._resolv_conf, self._command = sandbox, resolv_conf, command

    async def ask(self, *words: str) -> list[str]:
        """The lines that it prints."""
        script = f"mount -n --bind {self._resolv_conf} /etc/resolv.conf && exec \"$@\""
        command = [*self._command, *words]
        return (await inside(self._sandbox, "unshare", "--mount", "sh", "-c", script, "sh", *command)).splitlines()


@pytest.fixture
async def resolv_conf(netd: Netd, web_and_db: Pair, tmp_path: Path) -> Path:
    """What is rendered for web."""
    answer = await netd.peer.call(netd.stub.RenderFiles, net.RenderFilesRequest(sandbox_id=container(1)))
    path = tmp_path / "resolv.conf"
    path.write_bytes(answer.files.resolv_conf)
    return path


@pytest.fixture
def musl(web_and_db: Pair, resolv_conf: Path, tmp_path: Path) -> Program:
    return Program(web_and_db[0], resolv_conf, str(compiled(RESOLVE, tmp_path)))


async def test_glibcs_resolver_finds_both_addresses_and_names_by_resolv_conf(
    web_and_db: Pair, resolv_conf: Path
) -> None:
    web, db = web_and_db
    getent = Program(web, resolv_conf, "getent")
    ipv4, ipv6 = db.ipv4.partition("/")[0], db.ipv6.partition("/")[0]
    for name in ("db", "store", "db.blue"):
        assert {line.split()[0] for line in await getent.ask("ahosts", name)} == {ipv4, ipv6}
    for address in (ipv4, ipv6):
        (line,) = await getent.ask("hosts", address)
        assert line.split() == [address, "db.blue"]


async def test_musls_resolver_finds_both_addresses_and_names_by_resolv_conf(web_and_db: Pair, musl: Program) -> None:
    _, db = web_and_db
    ipv4, ipv6 = db.ipv4.partition("/")[0], db.ipv6.partition("/")[0]
    for name in ("db", "store", "db.blue", "DB"):
        assert set(await musl.ask(name)) == {ipv4, ipv6}
    for address in (ipv4, ipv6):
        assert await musl.ask("-x", address) == ["db.blue"]


async def test_musls_resolver_finds_a_name_of_one_ip_version_alone(
    netd: Netd, web_and_db: Pair, musl: Program
) -> None:
    """It takes a name for unknown whose one kind of address is answered by "no such name"."""
    await netd.create_network(0x8 << 240, "four")
    await netd.create(3, names=["old"])
    endpoint = await netd.attach(3, "four")
    await netd.attach(1, "four")
    assert await musl.ask("old") == [endpoint.ipv4.partition("/")[0]]


async def test_musls_resolver_takes_what_the_resolvers_of_the_host_answer(web_and_db: Pair, musl: Program) -> None:
    def only_ipv4(query: dns.message.Message) -> bytes:
        message = dns.message.make_response(query)
        if query.question[0].rdtype == dns.rdatatype.A:
            message.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "A", "192.0.2.1"))
        return message.to_wire()

    def unknown(query: dns.message.Message) -> bytes:
        message = dns.message.make_response(query)
        message.set_rcode(dns.rcode.NXDOMAIN)
        return message.to_wire()

    with upstream(only_ipv4):
        assert await musl.ask("example.org") == ["192.0.2.1"]
    with upstream(unknown):
        assert await musl.ask("nope.example.org") in (["Name does not resolve"], ["Name has no usable address"])
