"""Names at 127.0.0.11 in real sandboxes: whose they are, what goes on to other resolvers, and who may die meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rrset
import pytest

from chassis.errors import InvalidArgument, Unavailable
from netd import netns
from netd.resolver.protocol import ADDRESS
from pier.network.v1 import network_pb2 as net
from tests.service.netd.engine import Netd, container
from tests.service.netd.packets import PATIENCE_SECONDS, in_namespace
from tests.service.netd.test_service import path_of

UPSTREAM = "127.9.9.9"
WAITED_SECONDS = 4.5
"""Less than netd waits for a resolver that is away, and a hundred times what a verb takes that does not wait."""
Reply = Callable[[dns.message.Message], bytes | None]


async def ask(
    sandbox: net.Sandbox, name: str, kind: str = "A", tcp: bool = False, patience: float = PATIENCE_SECONDS
) -> dns.message.Message:
    """What 127.0.0.11 answers inside the sandbox. dns.exception.Timeout, or OSError."""
    return await asyncio.to_thread(_ask, path_of(sandbox), name, kind, tcp, patience)


def _ask(path: Path, name: str, kind: str, tcp: bool, patience: float) -> dns.message.Message:
    query = dns.message.make_query(f"{name}.", kind, use_edns=0, payload=1232)
    with in_namespace(path)(socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as sock:
        if tcp:
            sock.connect((ADDRESS, 53))
            return dns.query.tcp(query, ADDRESS, timeout=patience, sock=sock)
        sock.setblocking(False)
        return dns.query.udp(query, ADDRESS, timeout=patience, sock=sock)


async def until_found(sandbox: net.Sandbox, name: str, address: str) -> None:
    """Ask again and again, as resolvers do where a question is lost."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with contextlib.suppress(dns.exception.Timeout):
                if found(await ask(sandbox, name, patience=1)) == {address}:
                    return


def found(message: dns.message.Message) -> set[str]:
    assert message.rcode() == dns.rcode.NOERROR
    return {item.to_text() for rrset in message.answer for item in rrset}


def plain(endpoint: net.Endpoint) -> str:
    return endpoint.ipv4.partition("/")[0]


async def pair(netd: Netd) -> tuple[net.Sandbox, net.Sandbox, str, str]:
    """Two sandboxes on a network called blue, ``web`` and ``db``, and their addresses."""
    await netd.create_network(7, "blue")
    attachments = [net.Attachment(network="blue", spec=net.EndpointSpec(aliases=["all"]))]
    one = await netd.create(1, names=["web", "short1"], attachments=attachments, dns=[UPSTREAM])
    two = await netd.create(2, names=["db", "short2"], attachments=attachments, dns=[UPSTREAM])
    return one, two, plain(one.endpoints[0]), plain(two.endpoints[0])


@contextlib.contextmanager
def upstream(reply: Reply, address: str = UPSTREAM) -> Iterator[list[str]]:
    """A resolver on the host's loopback, over UDP and TCP, and the names that it is asked for."""
    asked: list[str] = []
    ended = threading.Event()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.create_server((address, 53)) as tcp:
        udp.bind((address, 53))
        udp.settimeout(0.05)
        tcp.settimeout(0.05)

        def datagrams() -> None:
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    packet, client = udp.recvfrom(65535)
                    query = dns.message.from_wire(packet)
                    asked.append(f"udp {query.question[0].name}")
                    if answer := reply(query):
                        udp.sendto(answer, client)

        def streams() -> None:
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    stream, _ = tcp.accept()
                    with stream:
                        stream.settimeout(PATIENCE_SECONDS)
                        query, _ = dns.query.receive_tcp(stream, time.time() + PATIENCE_SECONDS)
                        asked.append(f"tcp {query.question[0].name}")
                        message = dns.message.make_response(query)
                        message.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "A", "192.0.2.2"))
                        dns.query.send_tcp(stream, message)

        threads = [threading.Thread(target=work) for work in (datagrams, streams)]
        for thread in threads:
            thread.start()
        try:
            yield asked
        finally:
            ended.set()
            for thread in threads:
                thread.join()


def honest(query: dns.message.Message) -> bytes:
    message = dns.message.make_response(query)
    message.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "A", "192.0.2.1"))
    return message.to_wire()


async def test_names_aliases_and_addresses_are_answered_over_both_transports(netd: Netd) -> None:
    one, two, web, db = await pair(netd)
    for tcp in (False, True):
        assert found(await ask(one, "db", tcp=tcp)) == found(await ask(one, "short2.blue", tcp=tcp)) == {db}
        assert found(await ask(two, "WEB", tcp=tcp)) == {web}
        assert found(await ask(one, "all", tcp=tcp)) == {web, db}
        assert found(await ask(one, "db", "AAAA", tcp=tcp)) == set(), "known, and without one"
        assert found(await ask(one, "db", "SRV", tcp=tcp)) == set()
        reverse = ".".join(reversed(db.split("."))) + ".in-addr.arpa"
        assert found(await ask(one, reverse, "PTR", tcp=tcp)) == {"db.blue."}
    first = {next(iter(found_in_order(await ask(one, "all")))) for _ in range(40)}
    assert first == {web, db}, "each has its turn"


def found_in_order(message: dns.message.Message) -> list[str]:
    return [item.to_text() for rrset in message.answer for item in rrset]


async def test_only_sandboxes_on_networks_of_clients_have_names(netd: Netd) -> None:
    await pair(netd)
    apart = await netd.create(3, names=["apart"], attachments=[net.Attachment(network="bridge")])
    with pytest.raises(dns.exception.Timeout):
        await ask(apart, "db", patience=0.3)
    with pytest.raises(InvalidArgument, match="only supported for user-defined networks"):
        await netd.create(4, attachments=[net.Attachment(network="bridge", spec=net.EndpointSpec(aliases=["x"]))])
    files = (await netd.peer.call(netd.stub.RenderFiles, net.RenderFilesRequest(sandbox_id=container(1)))).files
    assert files.resolv_conf.startswith(b"nameserver 127.0.0.11\n")
    assert files.resolv_conf.endswith(b"ndots:0\n")


async def test_names_come_and_go_with_their_sandboxes_live(netd: Netd) -> None:
    one, _, web, db = await pair(netd)
    with upstream(lambda query: dns.message.make_response(query).to_wire()):
        await netd.peer.call(netd.stub.SetNames, net.SetNamesRequest(sandbox_id=container(2), names=["store"]))
        assert found(await ask(one, "store")) == {db}
        assert found(await ask(one, "db")) == set(), "handed on: nobody's any more"
        joined = await netd.create(3, names=["late"], attachments=[net.Attachment(network="bridge")])
        endpoint = await netd.attach(3, "blue", aliases=["later"], links=["store:s", "web:w"])
        assert found(await ask(one, "late")) == found(await ask(one, "later")) == {plain(endpoint)}
        assert found(await ask(joined, "s")) == {db}
        assert found(await ask(joined, "w.blue")) == {web}
        assert found(await ask(one, "s")) == set(), "a link is private"
        await netd.detach(3, "blue")
        await netd.remove(2)
        for name in ("late", "later", "store"):
            assert found(await ask(one, name)) == set()
    assert await netd.fsck() == []


async def test_other_names_go_on_to_the_resolvers_as_they_came(netd: Netd) -> None:
    one, *_ = await pair(netd)
    with upstream(honest) as asked:
        assert found(await ask(one, "example.org")) == {"192.0.2.1"}
        assert found(await ask(one, "example.org", tcp=True)) == {"192.0.2.2"}
    assert asked == ["udp example.org.", "tcp example.org."]


async def test_a_truncated_answer_is_handed_on_and_asked_for_again_over_tcp(netd: Netd) -> None:
    def cut(query: dns.message.Message) -> bytes:
        message = dns.message.make_response(query)
        message.flags |= dns.flags.TC
        return message.to_wire()

    one, *_ = await pair(netd)
    with upstream(cut):
        assert (await ask(one, "big.example.org")).flags & dns.flags.TC
        assert found(await ask(one, "big.example.org", tcp=True)) == {"192.0.2.2"}


async def test_an_answer_that_is_too_long_for_the_client_is_marked_as_truncated(netd: Netd) -> None:
    def long(query: dns.message.Message) -> bytes:
        message = dns.message.make_response(query)
        texts = [f'"{"x" * 200}{number}"' for number in range(20)]
        message.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "TXT", *texts))
        return message.to_wire(max_size=65535)

    one, *_ = await pair(netd)
    with upstream(long):
        answer = await ask(one, "long.example.org", "TXT")
        assert answer.flags & dns.flags.TC
        assert not answer.answer


async def test_lies_are_passed_over_and_silence_ends_in_a_failure(netd: Netd) -> None:
    def liar(query: dns.message.Message) -> bytes:
        query.id ^= 0xFFFF
        return honest(query)

    one, *_ = await pair(netd)
    with upstream(liar) as asked:
        began = time.monotonic()
        answer = await ask(one, "example.org")
        assert answer.rcode() == dns.rcode.SERVFAIL
        assert time.monotonic() - began > 4, "the honest answer may still come"
        assert found(await ask(one, "db")) != set(), "names of its own are answered meanwhile"
    assert asked == ["udp example.org."]


async def test_the_next_resolver_is_asked_where_the_first_refuses_is_silent_or_is_none(netd: Netd) -> None:
    def refuse(query: dns.message.Message) -> bytes:
        message = dns.message.make_response(query)
        message.set_rcode(dns.rcode.REFUSED)
        return message.to_wire()

    await netd.create_network(7, "blue")
    one = await netd.create(1, dns=["127.9.9.8", UPSTREAM], attachments=[net.Attachment(network="blue")])
    with upstream(honest):
        assert found(await ask(one, "a.example.org")) == {"192.0.2.1"}, "nobody listens at the first"
        with upstream(refuse, "127.9.9.8"):
            assert found(await ask(one, "b.example.org")) == {"192.0.2.1"}
        with upstream(lambda _query: None, "127.9.9.8"):
            assert found(await ask(one, "c.example.org")) == {"192.0.2.1"}
    with upstream(refuse):
        assert (await ask(one, "d.example.org")).rcode() == dns.rcode.REFUSED


async def test_63_an_internal_network_asks_nobody(netd: Netd) -> None:
    await netd.create_network(7, "inner", internal=True)
    attachments = [net.Attachment(network="inner")]
    one = await netd.create(1, names=["web"], dns=[UPSTREAM], attachments=attachments)
    two = await netd.create(2, names=["db"], dns=[UPSTREAM], attachments=attachments)
    with upstream(honest) as asked:
        assert found(await ask(one, "db")) == {plain(two.endpoints[0])}
        for tcp in (False, True):
            assert (await ask(one, "example.org", tcp=tcp)).rcode() == dns.rcode.SERVFAIL
        assert asked == []
        await netd.attach(1, "bridge")
        assert found(await ask(one, "example.org")) == {"192.0.2.1"}, "it has a way out now"


async def test_names_are_answered_while_netd_is_dead_and_by_a_new_resolver(netd: Netd) -> None:
    one, two, web, db = await pair(netd)
    await netd.kill()
    assert found(await ask(one, "db")) == {db}
    await netd.start()
    assert found(await ask(two, "web")) == {web}
    netd.kill_resolver()
    netd.start_resolver()
    await until_found(one, "db", db)
    assert await netd.fsck() == []
    await netd.kill()
    netd.kill_resolver()
    await netd.start()
    assert found(await ask(one, "db", tcp=True)) == {db}
    assert await netd.fsck() == []


async def test_without_a_resolver_a_sandbox_with_names_is_not_made_and_others_are(netd: Netd) -> None:
    await netd.create_network(7, "blue")
    netd.kill_resolver()
    await netd.create(1, attachments=[net.Attachment(network="bridge")])
    with pytest.raises(Unavailable, match="resolver is not there"):
        await netd.create(2, attachments=[net.Attachment(network="blue")])
    assert [sandbox.id for sandbox in await netd.sandboxes()] == [container(1)]
    netd.start_resolver()
    await netd.create(2, attachments=[net.Attachment(network="blue")])
    assert await netd.fsck() == []


async def test_who_leaves_or_is_renamed_while_the_resolver_is_away_is_not_kept_waiting(netd: Netd) -> None:
    one, *_, web, _ = await pair(netd)
    await netd.create_network(8 << 248, "red")  # its link is named by the first digits
    await netd.attach(2, "red")
    netd.kill_resolver()
    for act in (
        lambda: netd.peer.call(netd.stub.SetNames, net.SetNamesRequest(sandbox_id=container(1), names=["renamed"])),
        lambda: netd.detach(2, "red"), lambda: netd.detach(2, "blue"), lambda: netd.remove(2),
    ):
        async with asyncio.timeout(WAITED_SECONDS):
            await act()
    netd.start_resolver()
    with upstream(lambda query: dns.message.make_response(query).to_wire()):
        await until_found(one, "renamed", web)
        assert found(await ask(one, "db")) == set()
    assert await netd.fsck() == []


async def test_a_verb_that_finds_the_resolver_gone_waits_for_the_next_one(netd: Netd) -> None:
    await netd.create_network(7, "blue")
    netd.kill_resolver()
    made = asyncio.ensure_future(netd.create(1, names=["web"], attachments=[net.Attachment(network="blue")]))
    netd.start_resolver()
    assert found(await ask(await made, "web"))


async def test_port_53_stays_the_sandboxs_and_its_resolver_has_no_privilege(netd: Netd) -> None:
    one, *_ = await pair(netd)

    def bind_all() -> None:
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            with socket.socket(socket.AF_INET, kind) as sock:
                sock.bind(("0.0.0.0", 53))

    netns.inside(path_of(one), bind_all)
    assert netd.resolver is not None
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{netd.resolver.pid}/status").read_text().splitlines()
        if ":\t" in line
    )
    assert set(status["Uid"].split()) == set(status["Gid"].split()) == {"65534"}
    assert int(status["CapPrm"], 16) == int(status["CapEff"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert status["Groups"].split() == []


async def test_a_flood_of_one_sandbox_leaves_the_others_answered(netd: Netd) -> None:
    one, two, web, _ = await pair(netd)
    query = dns.message.make_query("nowhere.example.org.", "A").to_wire()
    with upstream(lambda _query: None), in_namespace(path_of(one))(socket.SOCK_DGRAM) as sock:
        for number in range(500):
            sock.sendto(number.to_bytes(2, "big") + query[2:], (ADDRESS, 53))
        for asker in (two, one):
            await until_found(asker, "web", web)  # the flood itself may fill the socket that a question comes by
