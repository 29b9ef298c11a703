"""Bad input: docker's status code and essential words, and nothing left behind."""

import http.client
import json
import socket

import pytest


class Http(http.client.HTTPConnection):
    """HTTP over the engine's socket."""

    def __init__(self, path):
        super().__init__("localhost")
        self._path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


@pytest.fixture
def api(engine):
    def request(method, path, body=None):
        connection = Http(engine.instance.api_socket)
        try:
            headers = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text)["message"] if text and answer.status >= 400 else text
        finally:
            connection.close()

    return request


CREATE = "/v1.45/containers/create"


@pytest.mark.parametrize(
    "query,body,status,words",
    [
        ("", {"Image": "nosuch"}, 404, "No such image: nosuch:latest"),
        ("", {"Image": "BAD"}, 400, "repository name"),
        ("?name=a", {"Image": "busybox", "Cmd": ["true"]}, 400, "Invalid container name"),
        ("?name=../x", {"Image": "busybox", "Cmd": ["true"]}, 400, "Invalid container name"),
        ("", {"Image": "busybox", "HostConfig": {"Memory": 1024}}, 400, "6MB"),
        ("", {"Image": "busybox", "HostConfig": {"NanoCpus": 10**15}}, 400, "CPUs"),
        ("", {"Image": "busybox", "HostConfig": {"CpusetCpus": "7777"}}, 400, "Requested CPUs are not available"),
        ("", {"Image": "busybox", "HostConfig": {"CapAdd": ["CAP_NONSENSE"]}}, 400, "CAP_NONSENSE"),
        ("", {"Image": "busybox", "HostConfig": {"SecurityOpt": ["odd=1"]}}, 400, 'invalid --security-opt 2: "odd=1"'),
        ("", {"Image": "busybox", "HostConfig": {"SecurityOpt": ["odd"]}}, 400, 'invalid --security-opt 1: "odd"'),
        ("", {"Image": "busybox", "Hostname": "a", "HostConfig": {"UTSMode": "host"}}, 400, "the UTS mode"),
        ("", {"Image": "busybox", "HostConfig": {"Binds": ["/:relative"]}}, 400, "relative"),
        ("", {"Image": "busybox", "HostConfig": {"Binds": ["/etc:/x:ro,rw"]}}, 400, "invalid mode: ro,rw"),
        ("", {"Image": "busybox", "HostConfig": {"Binds": ["vol:/x:rw,rw"]}}, 400, "invalid mode: rw,rw"),
        ("", {"Image": "busybox", "HostConfig": {"Mounts": [{
            "Type": "bind", "Source": "/etc", "Target": "/x", "BindOptions": {"ReadOnlyForceRecursive": True}}]}}, 400,
         "ReadOnlyForceRecursive needs ReadOnly"),
        ("", {"Image": "busybox", "HostConfig": {"Mounts": [{
            "Type": "bind", "Source": "/etc", "Target": "/x", "ReadOnly": True,
            "BindOptions": {"ReadOnlyForceRecursive": True, "NonRecursive": True}}]}}, 400, "exclude each other"),
        ("", {"Image": "busybox", "HostConfig": {"Mounts": [{
            "Type": "tmpfs", "Target": "/x", "TmpfsOptions": {"Options": [["odd"]]}}]}}, 400, "tmpfs option 'odd'"),
        ("", {"Image": "busybox", "HostConfig": {"Mounts": [{"Type": "odd", "Target": "/x"}]}}, 400,
         'invalid mount config for type "odd": mount type unknown'),
        ("", {"Image": "busybox", "HostConfig": {"RestartPolicy": {"Name": "sometimes"}}}, 400, "sometimes"),
        ("", {"Image": "busybox", "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "99999"}]}}}, 400, "99999"),
        ("", {"Image": "busybox", "HostConfig": {"NetworkMode": "nosuch"}}, 404, "nosuch"),
        ("", {"Image": 7}, 400, ""),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else None,
)
def test_a_container_that_cannot_be_is_refused(engine, api, query, body, status, words):
    got, message = api("POST", CREATE + query, body)
    if got == 201:  # what only a start can tell is told then, and the container stays created
        got, message = api("POST", f"/v1.45/containers/{json.loads(message)['Id']}/start")
    assert (got, words in str(message)) == (status, True), message


def test_a_taken_name_is_a_conflict_that_names_the_holder(engine, api):
    id_ = engine.ok("create", "--name", "taken", "busybox", "true")
    status, message = api("POST", CREATE + "?name=taken", {"Image": "busybox", "Cmd": ["true"]})
    assert status == 409
    assert message == (
        f'Conflict. The container name "/taken" is already in use by container "{id_}". '
        "You have to remove (or rename) that container to be able to reuse that name."
    )


def test_a_taken_port_is_refused_and_the_container_stays_created(engine, client):
    with socket.socket() as holder:
        holder.bind(("0.0.0.0", 0))
        holder.listen()
        port = holder.getsockname()[1]
        done = client.run("run", "-d", "--name", "port", "-p", f"{port}:80", "busybox", "true")
    assert done.returncode == 125
    assert "port is already allocated" in done.stderr or "address already in use" in done.stderr
    state = engine.inspect("port")["State"]
    assert (state["Status"], state["ExitCode"]) == ("created", 128)
    assert "failed to set up container networking" in state["Error"]
    client.ok("start", "port")
    assert engine.inspect("port")["State"]["Error"] == ""


@pytest.mark.parametrize(
    "method,path,status,words",
    [
        ("GET", "/v1.45/containers/nosuch/json", 404, "No such container: nosuch"),
        ("POST", "/v1.45/containers/nosuch/start", 404, "No such container: nosuch"),
        ("DELETE", "/v1.45/containers/nosuch", 404, "No such container: nosuch"),
        ("GET", "/v1.45/images/nosuch/json", 404, "No such image: nosuch"),
        ("DELETE", "/v1.45/images/nosuch", 404, "No such image: nosuch"),
        ("GET", "/v1.45/nosuch", 404, "page not found"),
        ("PUT", "/v1.45/containers/json", 404, "page not found"),
        ("GET", "/v9.99/info", 400, "too new"),
        ("GET", "/v1.1/info", 400, "too old"),
        ("GET", "/v1.45/containers/json?filters=nonsense", 400, "invalid filter"),
        ("GET", '/v1.45/containers/json?filters={"nope":["x"]}', 400, "invalid filter 'nope'"),
    ],
)
def test_what_is_not_there_is_told_by_status_and_words(api, method, path, status, words):
    got, message = api(method, path)
    assert got == status
    assert words in message if isinstance(message, str) else words.encode() in message


def test_a_running_container_is_not_removed_without_force(engine, api):
    id_ = engine.ok("run", "-d", "--name", "busy", "busybox", "sleep", "600")
    status, message = api("DELETE", "/v1.45/containers/busy")
    assert status == 409
    assert "container is running: stop the container before removing or force remove" in message
    assert api("POST", f"/v1.45/containers/{id_}/start")[0] == 304
    engine.ok("stop", "-t", "0", "busy")
    assert api("POST", f"/v1.45/containers/{id_}/stop")[0] == 304
    status, message = api("POST", f"/v1.45/containers/{id_}/kill")
    assert status == 409
    assert "is not running" in message


def test_a_registry_that_is_down_is_told_and_nothing_is_left(engine, client):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    before = engine.ok("images", "-aq")
    done = client.run("pull", f"127.0.0.1:{port}/nothing")
    assert done.returncode != 0
    assert "refused" in done.stderr
    assert engine.ok("images", "-aq") == before


def test_a_bad_bind_source_is_refused_by_mount_and_made_by_volume(engine, client, tmp_path):
    missing = tmp_path / "missing"
    done = client.run("run", "--rm", "--mount", f"type=bind,source={missing},target=/x", "busybox", "true")
    assert done.returncode == 125
    assert "bind source path does not exist" in done.stderr
    assert not missing.exists()
    client.ok("run", "--rm", "-v", f"{missing}:/x", "busybox", "true")
    assert missing.is_dir()


@pytest.mark.parametrize("options,code,words", [
    (("-u", "nosuch"), 125, "unable to find user nosuch"),
    (("--device", "/dev/nosuch"), 127, 'adding custom device "/dev/nosuch": no such file or directory'),
])
def test_a_failed_start_is_told_when_its_container_is_gone_and_breaks_off_no_wait(client, options, code, words):
    done = client.run("run", "--rm", "--name", "brief", *options, "busybox", "true")
    assert done.returncode == code
    assert words in done.stderr
    assert "error waiting for container" not in done.stderr
    assert "No such" in client.run("inspect", "brief").stderr


def test_a_new_name_that_cannot_be_is_refused_as_docker_does(api, engine):
    engine.ok("create", "--name", "one", "busybox")
    engine.ok("create", "--name", "two", "busybox")
    status, words = api("POST", "/v1.45/containers/one/rename?name=a%20b")
    assert (status, words.partition(",")[0]) == (
        400, "Error when allocating new name: Invalid container name (/a b)")
    status, words = api("POST", "/v1.45/containers/one/rename?name=two")
    assert (status, words.partition(" is already")[0]) == (
        409, 'Error when allocating new name: Conflict. The container name "/two"')


def test_a_subnet_that_is_none_is_told_in_dockers_words(engine):
    done = engine.docker("network", "create", "--subnet", "odd", "net")
    assert "invalid subnet odd: invalid CIDR block notation" in done.stderr
