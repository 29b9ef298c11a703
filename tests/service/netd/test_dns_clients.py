"""Names asked for as people's programs ask: by dig, and by the C library's own resolver."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from netd.resolver.protocol import ADDRESS
from pier.network.v1 import network_pb2 as net
from tests import tools
from tests.service.netd.engine import Netd, container
from tests.service.netd.test_service import path_of

Pair = tuple[net.Sandbox, net.Endpoint]


@pytest.fixture
async def web_and_db(netd: Netd) -> Pair:
    """A sandbox called web, and the endpoint of its neighbour db, on a network of both IP versions."""
    await netd.create_network(7, "blue", enable_ipv6=True)
    web = await netd.create(1, names=["web"])
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


async def test_the_c_librarys_resolver_finds_both_addresses_by_resolv_conf(
    netd: Netd, web_and_db: Pair, tmp_path: Path
) -> None:
    web, db = web_and_db
    answer = await netd.peer.call(netd.stub.RenderFiles, net.RenderFilesRequest(sandbox_id=container(1)))
    resolv = tmp_path / "resolv.conf"
    resolv.write_bytes(answer.files.resolv_conf)

    async def getent(*words: str) -> str:
        script = f"mount -n --bind {resolv} /etc/resolv.conf && exec getent \"$@\""
        return await inside(web, "unshare", "--mount", "sh", "-c", script, "sh", *words)

    ipv4, ipv6 = db.ipv4.partition("/")[0], db.ipv6.partition("/")[0]
    for name in ("db", "store", "db.blue"):
        found = {line.split()[0] for line in (await getent("ahosts", name)).splitlines()}
        assert found == {ipv4, ipv6}
    assert (await getent("hosts", ipv4)).split() == [ipv4, "db.blue"]
    assert (await getent("hosts", ipv6)).split() == [ipv6, "db.blue"]
