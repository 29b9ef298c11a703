"""``pier explain``: every operation has its tree over all services, and the tree adds up to the wall time."""

import http.client
import json
import random
import socket
from html.parser import HTMLParser
from typing import Any

import pytest

from deploy.busybox_image import busybox_image
from pier_cli.spans import covered
from tests.engine import sh, wait_until
from tests.images import pack

ADDS_UP = 0.95
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
OPERATIONS = 100
EACH = 10  # of one container: a create, a start, and what may come after
TRIES = 5


def traces(engine, *words):
    done = engine.pier("explain", "--json", *words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def services(span):
    return {span["service"]} | {name for child in span["children"] for name in services(child)}


def kept(engine, name, verb):
    """The newest tree of that verb, as soon as it is written down."""
    return wait_until(lambda: next((root for root in traces(engine, "--all", name) if root["name"] == verb), None),
                      what=f"a trace of {verb}")


def shares(roots):
    """What of each operation's wall time its stages account for."""
    return {f"{root['name']} {root['durationNs'] / 1e6:.1f} ms": covered(root) / root["durationNs"] for root in roots}


def test_what_containers_go_through_adds_up(engine):
    """Of random verbs on some containers, all together. A loaded machine takes the processor away anywhere: then they
    are tried again."""
    seed = random.randrange(1 << 30)
    print("seed", seed)
    dice = random.Random(seed)
    roots: list[dict[str, Any]] = []

    def adds_up():
        roots[:] = live(engine, dice)
        engine.remove_everything()
        return part(roots) >= ADDS_UP

    assert any(adds_up() for _ in range(TRIES)), sorted(shares(roots).items(), key=lambda item: item[1])
    print(f"{len(roots)} operations: {part(roots):.4f}")


def live(engine, dice):
    """What some containers went through: a create, a start, and random verbs that each can be told."""
    names = [f"adds{number}" for number in range(OPERATIONS // EACH)]
    for name in names:
        engine.ok("run", "-d", "--name", name, "-p", f"127.0.0.1::{dice.randrange(1, 100)}", *sh("sleep 600"))
    running = set(names)
    for _ in range(EACH - 2):
        chosen = {name: dice.choice(("restart", "stop") if name in running else ("restart", "start")) for name in names}
        for verb in ("restart", "stop", "start"):
            if some := [name for name in names if chosen[name] == verb]:
                engine.ok(verb, *(() if verb == "start" else ("-t", "0")), *some)
        running = {name for name in names if chosen[name] != "stop"}
    return [root for name in names for root in all_of(engine, name)]


def all_of(engine, name):
    """The trees of what a container went through, as soon as all are written down."""
    return wait_until(lambda: found if len(found := traces(engine, "--all", name)) == EACH else None)


def part(roots):
    """Of their wall time, what their stages account for."""
    return sum(map(covered, roots)) / sum(root["durationNs"] for root in roots)


def test_a_start_spans_all_services_and_is_found_by_the_port_that_it_published(engine):
    engine.ok("run", "-d", "--name", "web", "-p", "127.0.0.1::80", *sh("sleep 600"))
    start = kept(engine, "web", "start")
    assert services(start) >= {"gateway", "netd", "execd", "shim"}
    assert [root["name"] for root in traces(engine, "--all", "web", "80")] == ["start"]
    assert "no such" in engine.pier("explain", "nobody").stderr
    assert traces(engine, "--all", "web", "81/udp") == []


def test_a_life_by_the_restart_policy_is_told(engine):
    engine.ok("run", "-d", "--name", "again", "--restart", "on-failure:1", *sh("exit 3"))
    root = kept(engine, "again", "restart by policy")
    assert root["facts"]["waited"].endswith("s")
    assert services(root) >= {"execd"}
    assert engine.pier("explain", "again").stdout.startswith("restarted once, last exit 3\n")


def test_a_restart_after_the_oom_killer_says_so_and_at_what_limit(engine):
    engine.ok("run", "-d", "--name", "eats", "--restart", "on-failure:1", "-m", "16m", *sh("tail /dev/zero"))
    kept(engine, "eats", "restart by policy")
    told = engine.pier("explain", "eats").stdout.splitlines()
    assert told[0] == "restarted once, last exit 137 by the OOM killer at 16 MiB"


def test_a_change_of_health_is_told(engine):
    engine.ok("run", "-d", "--name", "sick", "--health-cmd", "exit 5", "--health-interval", "100ms", "--health-retries",
              "1", *sh("sleep 600"))
    root = kept(engine, "sick", "health")
    assert (root["facts"]["is"], root["facts"]["exit_code"]) == ("unhealthy", "5")


def test_a_refused_start_is_told_with_its_reason(engine):
    assert engine.docker("run", "--name", "refused", "busybox", "/nowhere").returncode != 0
    root = kept(engine, "refused", "start")
    assert root["error"]
    assert engine.docker("create", "--name", "never", "--cap-add", "NOPE", "busybox").returncode != 0
    (root,) = traces(engine, "never")
    assert root["name"] == "POST /containers/create"
    assert root["error"]


def test_a_pull_and_a_build_are_found_by_the_images_name(engine, registry, tmp_path):
    registry.push("explained", "1", pack(busybox_image()))
    image = f"{registry.host}/explained:1"
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN echo built > /file\n")

    def adds_up():
        """Both anew; nothing of them was there before."""
        engine.ok("pull", image)
        engine.ok("build", "-t", "explained-build", str(tmp_path))
        pull, build = (traces(engine, name)[0] for name in (image, "explained-build:latest"))
        assert services(pull) >= {"gateway", "imaged"}
        assert services(build) >= {"gateway", "buildd", "imaged", "execd"}
        engine.ok("rmi", image, "explained-build")
        engine.ok("builder", "prune", "-f")
        return min(part([pull]), part([build])) >= ADDS_UP

    assert any(adds_up() for _ in range(TRIES)), engine.pier("explain", "--slowest", "5").stdout


class Bars(HTMLParser):
    def __init__(self):
        super().__init__()
        self.count = 0

    def handle_starttag(self, tag, attrs):
        self.count += tag == "div"


def test_the_slowest_and_their_picture(engine):
    engine.ok("run", "--rm", "busybox", "true")
    found = traces(engine, "--slowest", "20")
    assert [root["durationNs"] for root in found] == sorted((root["durationNs"] for root in found), reverse=True)
    lines = engine.pier("explain", "--slowest", "3").stdout.splitlines()
    assert len(lines) == 4
    assert lines[0].split()[:3] == ["STARTED", "TOOK", "OPERATION"]
    page = Bars()
    page.feed(engine.pier("explain", "--html", "--slowest", "3").stdout)
    page.close()
    assert page.count > 3


@pytest.mark.parametrize("given", [f"00-{TRACE}-00f067aa0ba902b7-01", "00-" + "0" * 32 + "-00f067aa0ba902b7-01"])
def test_a_clients_trace_goes_through_all_services_into_their_logs(engine, given):
    """A start that fails in execd: each service that it touched has it on its lines, and no invalid one."""
    name = f"traced{len(engine.log('execd'))}"
    engine.ok("create", "--name", name, "busybox", "/nowhere")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(engine.instance.api_socket))
        request = http.client.HTTPConnection("localhost")
        request.sock = connection
        request.request("POST", f"/v1.45/containers/{name}/start", headers={"traceparent": given})
        answer = request.getresponse()
        answer.read()
        id_ = answer.headers["X-Request-Id"]
    assert answer.status >= 400
    for service in ("gateway", "execd"):
        lines = [json.loads(line) for line in engine.log(service).splitlines() if f'"request_id": "{id_}"' in line]
        assert lines
        expected = given if TRACE in given else None
        assert {line.get("traceparent") for line in lines} == {expected}
