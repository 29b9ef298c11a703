"""Lines 8 to 15 and 27: filters, what is null and what is empty, statuses and their bodies, names, words, samples."""

import json
from urllib.parse import quote

import pytest

ZERO = "0001-01-01T00:00:00Z"


def listed(wire, query="", **filters):
    """Names of the containers that a list with these filters shows."""
    given = f"&filters={quote(json.dumps(filters))}" if filters else ""
    return sorted(entry["Names"][0] for entry in wire.get(f"/containers/json?{query}{given}"))


def test_line_08_filters_count_in_both_spellings_and_combine_as_docker_has_it(wire):
    wire.create("web1", Cmd=["true"], Labels={"a": "1", "b": ""})
    wire.create("web2", Cmd=["true"], Labels={"a": "2"})
    wire.run("sleep 1000", "live", Labels={"a": "1"})
    assert listed(wire) == listed(wire, label=["a=1"]) == ["/live"], "those that run alone"
    assert listed(wire, "all=1", label=["a=1"]) == listed(wire, "all=1", label={"a=1": True}) == ["/live", "/web1"]
    assert listed(wire, "all=1", label=["a=1", "b"]) == ["/web1"], "every label"
    assert listed(wire, "all=1", name=["web1", "web2"]) == ["/web1", "/web2"], "any of the names"
    assert listed(wire, "all=1", name=["^/web"]) == listed(wire, "all=1", name=["^web"]) == ["/web1", "/web2"]
    assert listed(wire, status=["created"]) == ["/web1", "/web2"], "a status shows those that do not run"
    assert listed(wire, status=["created"], label=["a=1"]) == ["/web1"], "both keys"
    assert len(listed(wire, "limit=2")) == 2
    assert listed(wire, "all=1", exited=["0"]) == [], "what never ran has not ended"
    for filters, words in (("nonsense", "invalid filter"), ('{"nope":["x"]}', "invalid filter 'nope'"),
                           ('{"status":["x"]}', "invalid filter")):
        answer = wire.call("GET", f"/containers/json?filters={quote(filters)}")
        assert (answer.status, words in answer.message) == (400, True)


def test_line_09_ports_are_words_in_inspect_numbers_in_the_list_and_there_when_a_start_returns(wire):
    ports = {"80/tcp": [{"HostIp": "", "HostPort": ""}], "81": None}
    id_ = wire.create("web", Cmd=["sleep", "1000"], ExposedPorts={"82/udp": {}}, HostConfig={"PortBindings": ports})
    assert wire.get(f"/containers/{id_}/json")["NetworkSettings"]["Ports"] == {}
    wire.post(f"/containers/{id_}/start")
    found = wire.get(f"/containers/{id_}/json")["NetworkSettings"]["Ports"]
    assert set(found) == {"80/tcp", "81/tcp", "82/udp"}
    assert found["82/udp"] is None
    for name in ("80/tcp", "81/tcp"):
        assert isinstance(found[name][0]["HostPort"], str)
        assert int(found[name][0]["HostPort"]) > 0
        assert found[name][0]["HostIp"] == "0.0.0.0"
    (entry,) = wire.get("/containers/json")
    by_port = {port["PrivatePort"]: port for port in entry["Ports"]}
    assert by_port[82] == {"PrivatePort": 82, "Type": "udp"}
    assert by_port[80]["PublicPort"] == int(found["80/tcp"][0]["HostPort"])
    wire.post(f"/containers/{id_}/stop?t=0")
    assert wire.get(f"/containers/{id_}/json")["NetworkSettings"]["Ports"] == {}
    bad = {"Image": "busybox", "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": 8080}]}}}
    assert wire.call("POST", "/containers/create", bad).status == 400


def test_line_10_what_is_null_what_is_empty_and_what_is_not_there(wire):
    made = wire.post("/containers/create?name=none", {"Image": "busybox", "Cmd": ["true"]}).json
    assert made["Warnings"] == []
    found = wire.get("/containers/none/json")
    assert found["Config"]["Labels"] == {}
    assert found["Config"]["Entrypoint"] is found["Config"]["Volumes"] is None
    assert "OnBuild" not in found["Config"]
    assert "ExposedPorts" not in found["Config"]
    assert "Health" not in found["State"]
    assert found["State"]["StartedAt"] == found["State"]["FinishedAt"] == ZERO
    assert found["NetworkSettings"]["Ports"] == {}
    assert found["ExecIDs"] is None
    assert found["HostConfig"]["Binds"] is found["HostConfig"]["CapAdd"] is found["HostConfig"]["Dns"] is None or (
        found["HostConfig"]["Dns"] == [])
    assert found["HostConfig"]["PortBindings"] == {}
    (entry,) = wire.get("/containers/json?all=1")
    assert (entry["Labels"], entry["Ports"], entry["Mounts"]) == ({}, [], [])
    (network,) = [each for each in wire.get("/networks") if each["Name"] == "none"]
    assert (network["Labels"], network["Containers"], network["Options"]) == ({}, {}, {})
    volumes = wire.get("/volumes")
    assert isinstance(volumes["Volumes"], list)
    assert volumes["Warnings"] in (None, [])
    assert wire.post("/containers/none/update", {}).json == {"Warnings": None}
    assert wire.post("/networks/prune").json == {"NetworksDeleted": None}
    assert wire.post("/build/prune").json["CachesDeleted"] in (None, [])


def test_line_10_a_dangling_image_has_empty_lists_and_before_1_43_dockers_none(wire, dangling):
    def entry(version):
        return next(each for each in wire.get(f"/v{version}/images/json") if each["Id"] == dangling)

    assert (entry("1.45")["RepoTags"], entry("1.45")["RepoDigests"]) == ([], [])
    assert entry("1.42")["RepoTags"] == ["<none>:<none>"]
    assert entry("1.42")["RepoDigests"] == ["<none>@<none>"]
    assert isinstance(entry("1.45")["Created"], int)


@pytest.fixture
def dangling(wire):
    """The id of an image without a name."""
    from tests.images import Entry, layer

    answer = wire.call("POST", "/images/create?fromSrc=-", layer([Entry("file", data=b"1")]))
    id_ = answer.objects[-1]["status"]
    yield id_
    assert wire.call("DELETE", f"/images/{id_}?force=1").status == 200


def test_line_11_created_is_a_number_in_lists_and_a_time_in_inspect(wire):
    id_ = wire.create(Cmd=["true"])
    (entry,) = wire.get("/containers/json?all=1")
    assert isinstance(entry["Created"], int)
    assert wire.get(f"/containers/{id_}/json")["Created"].endswith("Z")
    assert isinstance(wire.get("/images/json")[0]["Created"], int)
    assert wire.get("/images/busybox/json")["Created"].endswith("Z")


def test_line_12_304_and_204_have_no_body_and_errors_are_json(wire):
    id_ = wire.run("sleep 1000")
    for path, status in ((f"/containers/{id_}/start", 304), (f"/containers/{id_}/stop?t=0", 204),
                         (f"/containers/{id_}/stop", 304)):
        answer = wire.call("POST", path)
        assert (answer.status, answer.body) == (status, b"")
        assert "content-type" not in answer.headers
    for method, path in (("GET", "/nosuch"), ("PATCH", "/containers/json"), ("PUT", "/info"), ("DELETE", "/version")):
        answer = wire.call(method, path)
        assert (answer.status, answer.headers["content-type"]) == (404, "application/json")
        assert answer.body == b'{"message":"page not found"}\n'
    answer = wire.call("GET", "/v1.45/containers/nosuch/json")
    assert answer.body == b'{"message":"No such container: nosuch"}\n'
    for name in ("api-version", "ostype", "server", "docker-experimental"):
        assert answer.headers[name]


def test_line_13_names_have_a_slash_two_letters_at_least_and_ids_any_prefix(wire):
    answer = wire.call("POST", "/containers/create?name=a", {"Image": "busybox"})
    assert (answer.status, "Invalid container name (a)" in answer.message) == (400, True)
    id_ = wire.run("sleep 1000", "web")
    assert wire.get("/containers/web/json")["Name"] == wire.get("/containers/%2Fweb/json")["Name"] == "/web"
    short = id_[:6]
    made = wire.post(f"/containers/{short}/exec", {"Cmd": ["true"]}).json["Id"]
    wire.post(f"/exec/{made}/start", {"Detach": True})
    assert wire.call("HEAD", f"/containers/{short}/archive?path=/etc").status == 200
    assert wire.call("DELETE", f"/containers/{short}?force=1").status == 204
    answer = wire.call("DELETE", f"/containers/{short}?force=1")
    assert (answer.status, answer.message) == (404, f"No such container: {short}")


def test_line_14_the_texts_that_clients_read(wire):
    answer = wire.call("POST", "/containers/create", {"Image": "nosuch"})
    assert (answer.status, answer.message) == (404, "No such image: nosuch:latest")
    id_ = wire.create("taken", Cmd=["nosuchcommand"])
    answer = wire.call("POST", "/containers/create?name=taken", {"Image": "busybox"})
    assert (answer.status, answer.message) == (409, (
        f'Conflict. The container name "/taken" is already in use by container "{id_}". You have to remove (or rename) '
        "that container to be able to reuse that name."))
    answer = wire.call("POST", "/containers/taken/start")
    assert (answer.status, "executable file not found" in answer.message) == (400, True)
    state = wire.get("/containers/taken/json")["State"]
    assert (state["Status"], state["ExitCode"]) == ("created", 127)
    assert "executable file not found" in state["Error"]


def test_line_15_stats_are_two_samples_nanoseconds_and_zeros_where_nothing_runs(wire):
    id_ = wire.run("while :; do :; done")
    once = wire.get(f"/containers/{id_}/stats?stream=0&one-shot=1")
    assert once["precpu_stats"]["cpu_usage"]["total_usage"] == 0
    both = wire.get(f"/containers/{id_}/stats?stream=0")
    used = both["cpu_stats"]["cpu_usage"]["total_usage"] - both["precpu_stats"]["cpu_usage"]["total_usage"]
    passed = both["cpu_stats"]["system_cpu_usage"] - both["precpu_stats"]["system_cpu_usage"]
    assert used > 0
    assert 0.5 * 10**9 < passed / both["cpu_stats"]["online_cpus"] < 30 * 10**9, "nanoseconds of all processors"
    assert used / passed * both["cpu_stats"]["online_cpus"] < both["cpu_stats"]["online_cpus"] * 1.1
    with wire.connected() as stream:
        stream.request(f"GET /containers/{id_}/stats")
        assert stream.head().status == 200
        assert json.loads(stream.chunk())["id"] == id_
    wire.post(f"/containers/{id_}/kill")
    still = wire.get(f"/containers/{id_}/stats?stream=0")
    assert (still["id"], still["cpu_stats"]["cpu_usage"]["total_usage"], still["memory_stats"]) == (id_, 0, {})


def test_line_27_words_for_yes_and_no_are_read_as_docker_reads_them(wire):
    wire.create(Cmd=["true"])
    words = {"1": 1, "true": 1, "True": 1, "yes": 1, "0": 0, "false": 0, "False": 0, "no": 0, "none": 0, "": 0}
    assert {word: len(wire.get(f"/containers/json?all={word}")) for word in words} == words


def test_line_27_keys_of_json_count_in_any_case_and_of_a_repeated_query_each_counts(wire):
    body = {"image": "busybox", "cMD": ["sleep", "1000"], "hostconfig": {"memory": 64 << 20}, "NoSuchField": [1]}
    id_ = wire.post("/containers/create", body, 201).json["Id"]
    assert wire.get(f"/containers/{id_}/json")["HostConfig"]["Memory"] == 64 << 20
    usage = wire.get("/v1.45/system/df?type=image&type=container")
    assert (len(usage["Images"]), len(usage["Containers"]), usage["Volumes"]) == (1, 1, [])
    assert wire.call("GET", "/images/get?names=busybox&names=nosuch").status == 404
