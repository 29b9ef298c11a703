"""The engine as a whole, and its networks, over REST."""

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import TODAYS_TOO


@pytest.mark.parametrize("path", ["/_ping", "/v1.41/_ping"])
def test_a_ping_tells_the_version_in_its_head(api, path):
    for method in ("GET", "HEAD"):
        connection = api.open()
        connection.request(method, path)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        assert answer.status == 200
        assert body == (b"OK" if method == "GET" else b"")
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert answer.headers["Api-Version"] == "1.56"
        assert answer.headers["Ostype"] == "linux"
        assert answer.headers["Swarm"] == "inactive"
        assert answer.headers["Builder-Version"] == "1"


@TODAYS_TOO
def test_version_and_info_name_the_engine(engine, client):
    assert "Pier" in client.ok("version")
    text = client.ok("info")
    for words in ("Containers: 0", "Images: 1", "Default Runtime: crun", "Swarm: inactive", "Driver: overlay2"):
        assert words in text


def test_disk_usage_counts_the_image(engine, api):
    engine.ok("system", "df")
    status, body = api("GET", "/v1.45/system/df")
    assert status == 200
    assert body["LayersSize"] == body["Images"][0]["Size"] > 0
    assert api("GET", "/v1.45/system/df?type=nope")[0] == 400


def test_this_node_is_no_swarm_and_has_no_plugins(api):
    status, body = api("GET", "/v1.45/swarm")
    assert (status, "This node is not a swarm manager" in body["message"]) == (503, True)
    assert api("GET", "/v1.45/plugins") == (200, [])


@TODAYS_TOO
def test_an_unknown_name_is_no_object(engine, client):
    done = client.run("inspect", "nosuch")
    assert done.returncode == 1
    assert "no such object: nosuch" in done.stderr.lower()


def test_networks_are_listed_made_and_removed(engine, api):
    names = engine.ok("network", "ls", "--format", "{{.Name}} {{.Driver}}").splitlines()
    assert names == ["bridge bridge", "host host", "none null"]
    id_ = engine.ok("network", "create", "--label", "k=v", "n1")
    found = engine.inspect("n1")
    assert (found["Id"], found["Labels"], found["Driver"]) == (id_, {"k": "v"}, "bridge")
    assert found["IPAM"]["Config"][0]["Gateway"].endswith(".1")
    assert engine.ok("network", "ls", "-q", "--no-trunc", "-f", "label=k=v") == id_
    status, body = api("POST", "/v1.45/networks/create", {"Name": "n1"})
    assert (status, body["message"]) == (409, "network with name n1 already exists")
    assert engine.ok("network", "rm", "n1") == "n1"
    assert api("DELETE", "/v1.45/networks/n1") == (404, {"message": "network n1 not found"})


def test_a_network_in_use_shows_who_uses_it_and_stays(engine, api):
    id_ = engine.ok("run", "-d", "--name", "user", "busybox", "sleep", "600")
    found = api("GET", "/v1.45/networks/bridge")[1]
    assert found["Containers"][id_]["Name"] == "user"
    assert "/" in found["Containers"][id_]["IPv4Address"]
    status, body = api("DELETE", "/v1.45/networks/bridge")
    assert (status, "pre-defined" in body["message"]) == (403, True)


@pytest.mark.parametrize(
    "body,status,words",
    [
        ({"Name": ""}, 400, "name is empty"),
        ({"Name": "bridge"}, 403, "operation is not permitted on predefined bridge network"),
        ({"Name": "n2", "Driver": "nope"}, 404, 'plugin "nope" not found'),
        ({"Name": "n2", "Driver": "overlay"}, 501, "overlay"),
        ({"Name": "n2", "Ingress": True}, 501, "Ingress"),
        ({"Name": "n2", "IPAM": {"Config": [{"Subnet": "10.0.0.0"}]}}, 400, "10.0.0.0"),
        ({"Name": "../x"}, 400, "x"),
        ({"Name": 7}, 400, "Name"),
    ],
)
def test_a_network_that_cannot_be_is_refused(api, body, status, words):
    got, answer = api("POST", "/v1.45/networks/create", body)
    assert (got, words in answer["message"]) == (status, True), answer


def test_a_subnet_that_overlaps_is_forbidden(engine, api):
    subnet = engine.inspect("bridge")["IPAM"]["Config"][0]["Subnet"]
    status, body = api("POST", "/v1.45/networks/create", {"Name": "n3", "IPAM": {"Config": [{"Subnet": subnet}]}})
    assert (status, "Pool overlaps with other one on this address space" in body["message"]) == (403, True), body


@TODAYS_TOO
def test_volumes_are_made_listed_and_removed(engine, client, api):
    assert client.ok("volume", "create", "--label", "k=v", "data") == "data"
    try:
        found = json.loads(client.ok("volume", "inspect", "data"))[0]
        assert (found["Name"], found["Driver"], found["Labels"]) == ("data", "local", {"k": "v"})
        assert Path(found["Mountpoint"]).is_dir()
        assert client.ok("volume", "create", "data") == "data"
        assert client.ok("volume", "ls", "-q", "-f", "label=k=v") == "data"
        assert client.ok("volume", "ls", "-q", "-f", "dangling=false") == ""
        (Path(found["Mountpoint"]) / "file").write_bytes(bytes(1 << 20))
        usage = api("GET", "/v1.45/system/df?type=volume")[1]["Volumes"][0]["UsageData"]
        du = engine.run(["du", "-s", "--block-size=1", found["Mountpoint"]]).stdout.split()[0]
        assert usage == {"Size": int(du), "RefCount": 0}
        assert usage["Size"] >= 1 << 20
    finally:
        assert client.ok("volume", "rm", "data") == "data"
    assert not Path(found["Mountpoint"]).exists()
    assert api("DELETE", "/v1.45/volumes/data") == (404, {"message": "get data: no such volume"})
    assert api("DELETE", "/v1.45/volumes/data?force=1")[0] == 204


def test_a_volume_that_a_container_has_mounted_stays(engine, api):
    engine.ok("volume", "create", "held")
    path = engine.inspect("held")["Mountpoint"]
    id_ = engine.ok("create", "-v", f"{path}:/data", "busybox", "true")
    assert api("DELETE", "/v1.45/volumes/held") == (409, {"message": f"remove held: volume is in use - [{id_}]"})
    engine.ok("rm", id_)
    engine.ok("volume", "rm", "held")


@pytest.mark.parametrize(
    "body,status,words",
    [
        ({"Name": "a"}, 400, "includes invalid characters for a local volume name"),
        ({"Name": "../x"}, 400, "includes invalid characters for a local volume name"),
        ({"Name": "ok", "Driver": "nope"}, 404, "nope"),
        ({"Name": "ok", "DriverOpts": {"type": "nfs", "device": ":/x"}}, 400, "does not say where the server is"),
        ({"Name": "ok", "DriverOpts": {"type": "cifs", "device": "//x/y"}}, 501, "cifs"),
    ],
)
def test_a_volume_that_cannot_be_is_refused(api, body, status, words):
    got, answer = api("POST", "/v1.45/volumes/create", body)
    assert (got, words in answer["message"]) == (status, True), answer


def test_sizes_of_containers_are_counted_when_asked_for(engine, api):
    engine.ok("run", "--name", "writer", "busybox", "sh", "-c", "head -c 1000000 /dev/zero > /file")
    (entry,) = api("GET", "/v1.45/containers/json?all=1&size=1")[1]
    assert entry["SizeRw"] >= 1_000_000
    assert entry["SizeRootFs"] == entry["SizeRw"] + engine.inspect("busybox")["Size"]
    assert "writer" in engine.ok("system", "df", "-v")
    assert "SizeRw" not in api("GET", "/v1.45/containers/json?all=1")[1][0]
