"""Lines 19 to 21 and 24: volumes that go or stay, restarts and removals, events, several networks."""

import json
import time
from urllib.parse import quote

from tests.engine import wait_until


def state(wire, name):
    return wire.get(f"/containers/{name}/json")["State"]


def volumes(wire):
    return {volume["Name"] for volume in wire.get("/volumes")["Volumes"]}


def events(wire, query="", version="", **filters):
    given = f"&filters={quote(json.dumps(filters))}" if filters else ""
    return wire.call("GET", f"{version}/events?{query}{given}").objects


def test_line_19_anonymous_volumes_go_with_a_container_that_is_removed_so(wire):
    before = volumes(wire)
    for options, path in (({"AutoRemove": True}, None), ({}, "?v=1"), ({}, "?v=1&force=1")):
        id_ = wire.create(Volumes={"/data": {}}, Cmd=["true"], HostConfig=options)
        assert len(volumes(wire) - before) == 1
        wire.post(f"/containers/{id_}/start")
        if path:
            wire.post(f"/containers/{id_}/wait")
            assert wire.call("DELETE", f"/containers/{id_}{path}").status == 204
        wait_until(lambda: volumes(wire) == before, what="its volume is gone")


def test_line_20_a_stop_ends_what_would_be_restarted_and_the_count_is_kept(wire):
    policy = {"RestartPolicy": {"Name": "always"}}
    id_ = wire.run("exit 1", HostConfig=policy)
    wait_until(lambda: wire.get(f"/containers/{id_}/json")["RestartCount"] >= 2, what="two restarts")
    answer = wire.call("POST", f"/containers/{id_}/stop?t=1")
    assert answer.status in (204, 304)
    count = wire.get(f"/containers/{id_}/json")["RestartCount"]
    assert state(wire, id_)["Status"] == "exited"
    other = wire.run("exit 1", HostConfig=policy)  # begun later, it has been through the same pauses by then
    wait_until(lambda: wire.get(f"/containers/{other}/json")["RestartCount"] > count, 60, "the other's restarts")
    assert state(wire, id_)["Status"] == "exited"
    assert wire.get(f"/containers/{id_}/json")["RestartCount"] == count


def test_line_20_a_wait_for_the_removal_gets_the_code_when_the_name_is_free(wire):
    id_ = wire.create("brief", Cmd=["sh", "-c", "exit 5"], HostConfig={"AutoRemove": True})
    with wire.connected() as waiting:
        waiting.request(f"POST /containers/{id_}/wait?condition=removed")
        waiting.head()
        wire.post(f"/containers/{id_}/start")
        assert json.loads(waiting.chunk()) == {"StatusCode": 5}
    wire.create("brief", Cmd=["true"])


def test_line_21_a_replay_ends_where_it_is_told_to_and_attributes_are_filtered(wire):
    began = time.time_ns()
    id_ = wire.run("exit 3", "told", Labels={"kind": "x", "other": "y"})
    wire.post(f"/containers/{id_}/wait")
    since = f"since={began // 10**9}.{began % 10**9:09d}"

    def seen(**filters):
        # What is told now may not be written down yet: an end that lies a moment ahead is waited for.
        return events(wire, f"{since}&until={time.time() + 1:.9f}", **filters)

    found = seen(container=["told"])
    assert [event["Action"] for event in found] == ["create", "start", "die"]
    assert found[-1]["Actor"]["Attributes"]["exitCode"] == "3"
    assert found[-1]["Actor"]["Attributes"]["kind"] == "x"
    until = f"until={time.time():.9f}"
    assert len(events(wire, f"{since}&{until}", label=["kind=x", "other"], event=["die"])) == 1
    assert events(wire, f"{since}&{until}", label=["kind=y"]) == []
    assert events(wire, f"{since}&{until}", type=["network"], container=["told"], event=["create"]) == []
    assert not any({"status", "id", "from"} & set(event) for event in found)
    old = events(wire, f"{since}&{until}", "/v1.51", container=["told"])
    assert {(event["status"], event["id"], event["from"]) for event in old} == {
        (word, id_, "busybox") for word in ("create", "start", "die")}
    assert wire.call("GET", "/events?since=yesterday").status == 400


def test_line_24_several_networks_at_a_create_names_on_them_alone_and_gone_with_their_container(wire):
    for name in ("one", "two"):
        wire.post("/networks/create", {"Name": name})
    ends = {"one": {"Aliases": ["first"]}, "two": None}
    body = {"Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": {"NetworkMode": "one"},
            "NetworkingConfig": {"EndpointsConfig": ends}}
    answer = wire.call("POST", "/v1.43/containers/create?name=other", body)
    assert answer.status == 400
    id_ = wire.post("/v1.44/containers/create?name=both", body).json["Id"]
    wire.post(f"/containers/{id_}/start")
    networks = wire.get("/containers/both/json")["NetworkSettings"]["Networks"]
    assert set(networks) == {"one", "two"}
    assert networks["one"]["Aliases"] == ["first"]
    assert networks["two"]["IPAddress"]
    asker = wire.run("sleep 1000", "asker", HostConfig={"NetworkMode": "one"})
    assert looked_up(wire, asker, "first") == looked_up(wire, asker, "both") == 0
    refused = {"Image": "busybox", "NetworkingConfig": {"EndpointsConfig": {"bridge": {"Aliases": ["no"]}}}}
    made = wire.call("POST", "/containers/create?name=plain", refused)
    assert made.status == 400 or wire.call("POST", "/containers/plain/start").status >= 400
    wire.post("/containers/both/stop?t=0")
    wait_until(lambda: looked_up(wire, asker, "first") != 0, what="the name is gone")
    for name in ("both", "asker"):
        wire.call("DELETE", f"/containers/{name}?force=1")
    for name in ("one", "two"):
        assert wire.call("DELETE", f"/networks/{name}").status == 204


def looked_up(wire, asker, name):
    """The exit code of a look-up in the container ``asker``."""
    made = wire.post(f"/containers/{asker}/exec", {"Cmd": ["nslookup", name]}).json["Id"]
    wire.post(f"/exec/{made}/start", {"Detach": False})
    return wire.get(f"/exec/{made}/json")["ExitCode"]
