"""The Engine API as programs use it: docker-py, and the answers that no command shows."""

import json
import os
import signal
import socket
import struct
import threading
import time

import docker
import pytest

from tests.engine import sh, wait_until


@pytest.fixture
def client(engine):
    with_engine = docker.DockerClient(base_url=engine.host, version="auto", timeout=30)
    yield with_engine
    with_engine.close()


def test_a_container_is_run_listed_read_and_removed(client):
    assert client.containers.run("busybox", ["echo", "hi"], remove=True) == b"hi\n"
    made = client.containers.create("busybox", ["sleep", "600"], name="web", labels={"a": "1", "b": ""})
    assert made.status == "created"
    assert client.containers.list() == []
    made.start()
    made.reload()
    assert (made.status, made.name, made.labels) == ("running", "web", {"a": "1", "b": ""})
    assert [each.id for each in client.containers.list(filters={"label": ["a=1", "b"]})] == [made.id]
    assert client.containers.list(filters={"label": "a=2"}) == []
    assert [each.id for each in client.containers.list(filters={"name": "^/web$"})] == [made.id]
    assert [each.id for each in client.containers.list(filters={"id": made.id[:5], "status": "running"})] == [made.id]
    assert [each.id for each in client.containers.list(filters={"ancestor": "busybox"})] == [made.id]
    made.kill()
    assert made.wait() == {"StatusCode": 137}
    assert client.containers.list(filters={"exited": 137})[0].id == made.id
    made.remove()
    with pytest.raises(docker.errors.NotFound, match="No such container: web"):
        client.containers.get("web")


def test_a_failing_command_is_an_error_with_its_output(client):
    with pytest.raises(docker.errors.ContainerError) as caught:
        client.containers.run("busybox", ["sh", "-c", "echo no >&2; exit 4"])
    assert (caught.value.exit_status, caught.value.stderr) == (4, b"no\n")


def test_exec_gives_code_and_streams_apart(client):
    made = client.containers.run("busybox", ["sleep", "600"], detach=True, environment={"A": "1"})
    script = ["sh", "-c", "echo $A$B; echo err >&2; exit 5"]
    code, (out, err) = made.exec_run(script, demux=True, environment={"B": "2"})
    assert (code, out, err) == (5, b"12\n", b"err\n")
    code, text = made.exec_run("id -u", user="1000", tty=True)
    assert (code, text) == (0, b"1000\r\n")
    id_ = client.api.exec_create(made.id, ["true"])["Id"]
    assert client.api.exec_inspect(id_)["ExitCode"] is None
    client.api.exec_start(id_)
    assert client.api.exec_inspect(id_)["ExitCode"] == 0
    with pytest.raises(docker.errors.APIError, match="has already run"):
        client.api.exec_start(id_)
    with pytest.raises(docker.errors.NotFound, match="No such exec instance"):
        client.api.exec_inspect("nosuch")


def test_attach_by_socket_gives_frames_and_takes_input(client):
    made = client.containers.create("busybox", ["cat"], stdin_open=True)
    stream = client.api.attach_socket(made.id, {"stdin": 1, "stdout": 1, "stream": 1})
    made.start()
    raw = stream._sock
    raw.sendall(b"hello\n")
    raw.settimeout(10)
    head = raw.recv(8)
    kind, size = struct.unpack(">BxxxL", head)
    assert (kind, raw.recv(size)) == (1, b"hello\n")
    stream.close()
    raw.close()
    assert made.wait() == {"StatusCode": 0}  # the first client's end is cat's


def test_logs_are_read_by_time_tail_and_stream(client):
    made = client.containers.run("busybox", ["sh", "-c", "echo one; echo two >&2; echo three"], detach=True)
    made.wait()
    assert made.logs(stdout=True, stderr=False) == b"one\nthree\n"
    assert made.logs(stdout=False, stderr=True) == b"two\n"
    assert made.logs(tail=0) == b""
    assert len(made.logs(tail=1).splitlines()) == 1
    stamp = made.logs(timestamps=True, stderr=False).split(b" ")[0].decode()
    assert len(stamp) == len("2026-01-01T00:00:00.000000000Z")
    assert made.logs(until=1) == b""
    assert b"".join(made.logs(stream=True, follow=True, stderr=False)) == b"one\nthree\n"


def test_events_tell_a_runs_life_in_dockers_order_now_and_later(client, engine):
    began = client.info()["SystemTime"]
    assert began
    stream = client.events(decode=True, filters={"type": "container"})
    seen = []

    def follow():
        for event in stream:
            seen.append(event)
            if event["Action"] == "destroy":
                return

    thread = threading.Thread(target=follow)
    thread.start()
    assert engine.docker("run", "--rm", "--name", "brief", "--label", "l=1", *sh("exit 6")).returncode == 6
    thread.join(20)
    stream.close()
    actions = [event["Action"] for event in seen]
    assert [each for each in actions if each != "attach"] == ["create", "start", "die", "destroy"]
    die = next(event for event in seen if event["Action"] == "die")
    attributes = die["Actor"]["Attributes"]
    assert (attributes["name"], attributes["exitCode"], attributes["l"]) == ("brief", "6", "1")
    assert attributes["image"] == "busybox"
    assert (die["Type"], die["scope"]) == ("container", "local")
    later = list(client.events(decode=True, since=seen[0]["time"], until=seen[-1]["time"] + 1,
                               filters={"container": "brief"}))
    assert [event["timeNano"] for event in later] == [event["timeNano"] for event in seen]


def test_inspect_has_every_field_that_clients_read(client):
    made = client.containers.run(
        "busybox", ["sleep", "600"], detach=True, name="full", ports={"80/tcp": None}, mem_limit="64m",
        cap_add=["NET_ADMIN"], volumes={"/tmp": {"bind": "/data", "mode": "ro"}}, working_dir="/tmp", tty=True,
    )
    read = client.api.inspect_container(made.id)
    assert read["Name"] == "/full"
    assert (read["Path"], read["Args"]) == ("sleep", ["600"])
    assert read["State"]["Status"] == "running"
    assert read["State"]["FinishedAt"] == "0001-01-01T00:00:00Z"
    assert "Health" not in read["State"]
    assert read["Config"]["Cmd"] == ["sleep", "600"]
    assert (read["Config"]["Tty"], read["Config"]["Image"], read["Config"]["Entrypoint"]) == (True, "busybox", None)
    host = read["HostConfig"]
    assert (host["Memory"], host["CapAdd"], host["NetworkMode"]) == (64 << 20, ["NET_ADMIN"], "bridge")
    assert host["RestartPolicy"] == {"Name": "no", "MaximumRetryCount": 0}
    assert (host["CapDrop"], host["ShmSize"]) == (None, 64 << 20)
    assert read["Mounts"] == [{"Type": "bind", "Source": "/tmp", "Destination": "/data", "Mode": "ro", "RW": False,
                               "Propagation": "rprivate"}]
    network = read["NetworkSettings"]
    assert network["Networks"]["bridge"]["IPAddress"]
    assert network["Networks"]["bridge"]["NetworkID"]
    assert int(network["Ports"]["80/tcp"][0]["HostPort"]) > 0
    entry = client.api.containers(filters={"name": "full"})[0]
    assert isinstance(entry["Created"], int)
    assert entry["Ports"][0]["PrivatePort"] == 80
    assert entry["Status"].startswith(("Up ", "Less"))
    made.stop(timeout=0)
    assert client.api.inspect_container(made.id)["NetworkSettings"]["Ports"] == {}


def test_what_is_not_built_is_refused_and_leaves_nothing(client):
    for options in ({"storage_opt": {"size": "1g"}}, {"volume_driver": "other"}):
        with pytest.raises(docker.errors.APIError) as caught:
            client.containers.create("busybox", ["true"], **options)
        assert caught.value.status_code == 501
    assert client.containers.list(all=True) == []


def test_the_stages_of_a_start_are_kept_with_the_container(client, engine):
    made = client.containers.run("busybox", ["sleep", "600"], detach=True)

    def spans():
        found = json.loads(client.api._get(client.api._url("/containers/{0}/traces", made.id)).text)
        return found if {"create", "start"} <= {root["name"] for root in found} else None

    roots = wait_until(spans, what="both traces")
    start = next(root for root in roots if root["name"] == "start")

    def services(span):
        return {span["service"]} | {name for child in span["children"] for name in services(child)}

    assert {"gateway", "execd", "netd"} <= services(start)


def test_a_wait_that_was_there_before_the_end_is_answered_although_execd_was_killed(client, engine):
    script = "while [ ! -e /go ]; do sleep 0.01; done; exit 9"
    made = client.containers.run("busybox", ["sh", "-c", script], detach=True)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(engine.instance.api_socket))
        connection.settimeout(20)
        connection.sendall(f"POST /v1.45/containers/{made.id}/wait?condition=next-exit HTTP/1.1\r\n"
                           "Host: docker\r\nContent-Length: 0\r\n\r\n".encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):  # sent when the wait is in place
            head += connection.recv(1)
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        engine.kill("execd")
        engine.wait_serving()
        engine.ok("exec", made.id, "touch", "/go")
        answer = b""
        while not answer.endswith(b"0\r\n\r\n"):
            answer += connection.recv(4096)
    assert b'{"StatusCode":9}' in answer


def test_a_read_while_execd_is_away_gives_the_last_known_and_says_so(engine, client):
    made = client.containers.run("busybox", ["sleep", "600"], detach=True, name="seen")
    client.containers.list()
    client.api.inspect_container("seen")
    os.kill(engine.pid("execd"), signal.SIGSTOP)
    try:
        for path in ("/containers/json", "/containers/seen/json", f"/containers/{made.id[:12]}/json"):
            answer = client.api._get(client.api._url(path))
            assert answer.status_code == 200
            assert answer.headers["X-Pier-Stale-Since"]
            assert made.id in answer.text
    finally:
        os.kill(engine.pid("execd"), signal.SIGCONT)
    answer = client.api._get(client.api._url("/containers/json"))
    assert "X-Pier-Stale-Since" not in answer.headers


def test_a_restart_of_the_gateway_refuses_no_connection(engine, client):
    client.containers.run("busybox", ["sleep", "600"], detach=True, name="stays")
    engine.kill("gateway")
    assert engine.ok("ps", "--format", "{{.Names}}") == "stays"
    engine.wait_serving()


def test_each_connection_may_carry_many_requests(engine):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(engine.instance.api_socket))
        reader = connection.makefile("rb")
        for _ in range(20):
            connection.sendall(b"GET /v1.45/_ping HTTP/1.1\r\nHost: docker\r\n\r\n")
            assert reader.readline() == b"HTTP/1.1 200 OK\r\n"
            length = 0
            while (line := reader.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            assert reader.read(length) == b"OK"
        reader.close()


def test_events_go_on_exactly_behind_a_cursor(client, engine):
    def read(query):
        return [json.loads(line) for line in client.api._get(client.api._url("/events") + query).text.splitlines()]

    engine.ok("run", "--rm", "--name", "first", "busybox", "true")
    wait_until(lambda: engine.ok("ps", "-aq") == "")
    seen = read("?since=1&until=1&cursor=1") or read(f"?since=1&until={int(time.time()) + 1}&cursor=1")
    middle = len(seen) // 2
    rest = read(f"?until={int(time.time()) + 1}&after={seen[middle]['cursor']}")
    assert {event["timeNano"] for event in rest} >= {event["timeNano"] for event in seen[middle + 1 :]}
    assert seen[middle]["timeNano"] not in {
        event["timeNano"] for event in rest if event["Actor"]["ID"] == seen[middle]["Actor"]["ID"]
    }
    assert client.api._get(client.api._url("/events") + "?after=nonsense").status_code == 400


def test_a_network_that_is_not_there_is_told_at_the_start_and_no_image_is_pulled_for_it(engine):
    done = engine.docker("run", "--rm", "--network", "nosuch", "busybox", "true")
    assert done.returncode == 125
    assert "network nosuch not found" in done.stderr
    assert "Unable to find image" not in done.stderr
    wait_until(lambda: engine.ok("ps", "-aq") == "", what="it is removed, since it was to be removed at its end")
    done = engine.docker("run", "--rm", "--network", "container:nosuch", "busybox", "true")
    assert (done.returncode, "No such container: nosuch" in done.stderr) == (125, True)
    assert "Unable to find image" not in done.stderr


def test_a_container_shares_anothers_network(engine):
    engine.ok("run", "-d", "--name", "holder", "busybox", "sleep", "600")
    address = engine.inspect("holder")["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    assert address in engine.ok("run", "--rm", "--network", "container:holder", *sh("ip -4 addr show eth0"))
