"""Log drivers and their options, as docker's clients meet them."""

import json
import socket
import time
from contextlib import contextmanager

from tests.engine import WITHIN, sh


def test_details_are_the_labels_variables_and_tag_that_were_asked_for(client, engine):
    engine.ok(
        "run", "--name", "talk", "--label", "shop=north & south", "--env", "TOKEN=a,b", "--log-opt", "labels=shop",
        "--log-opt", "env-regex=^TOK", "--log-opt", "tag={{.Name}}/{{.ImageName}}", *sh("echo one; echo two >&2"),
    )
    done = client.run("logs", "--details", "talk")
    attributes = "TOKEN=a%2Cb,shop=north+%26+south,tag=talk%2Fbusybox"
    assert (done.stdout, done.stderr) == (f"{attributes} one\n", f"{attributes} two\n")
    assert client.ok("logs", "talk") == "one"
    stamped = client.run("logs", "-t", "--details", "talk").stdout
    assert stamped.split(" ", 1)[1] == f"{attributes} one\n"
    with open(engine.inspect("talk")["LogPath"]) as file:
        record = json.loads(file.readline())
    assert list(record) == ["log", "stream", "attrs", "time"]


def test_a_log_goes_to_syslog_and_is_read_here_as_well(client, engine):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
        sink.bind(("127.0.0.1", 0))
        sink.settimeout(WITHIN)
        address = f"syslog-address=udp://127.0.0.1:{sink.getsockname()[1]}"
        client.ok("run", "--name", "far", "--log-driver", "syslog", "--log-opt", address, "--log-opt", "tag=shop",
                  *sh("echo hello"))
        message = sink.recv(4096).decode()
    assert message.startswith("<30>")
    assert message.endswith(": hello\n")
    assert " shop[" in message
    assert client.ok("logs", "far") == "hello"
    assert engine.inspect("far")["HostConfig"]["LogConfig"]["Type"] == "syslog"
    assert engine.inspect("far")["LogPath"] == ""


def test_what_a_driver_does_not_have_is_refused_in_dockers_words(client):
    for options, words in (
        (("--log-opt", "nonsense=1"), "unknown log opt 'nonsense' for json-file log driver"),
        (("--log-driver", "gelf"), "gelf"), (("--log-driver", "journald"), "journald is not enabled on this host"),
        (("--log-driver", "syslog", "--log-opt", "syslog-facility=x"), "invalid syslog facility"),
    ):
        done = client.run("create", *options, "busybox")
        assert done.returncode == 1
        assert words in done.stderr


def test_an_attachment_begins_with_the_log_where_that_is_asked_for(engine):
    engine.ok("run", "-d", "-i", "--name", "talk", *sh("echo before; read line; echo got $line"))
    deadline = time.monotonic() + WITHIN
    while engine.ok("logs", "talk") != "before":
        assert time.monotonic() < deadline
    with hijacked(engine, "talk/attach?logs=1&stream=1&stdin=1&stdout=1") as (client, file):
        assert file.read(8 + 7) == b"\x01\0\0\0\0\0\0\x07before\n"
        client.sendall(b"word\n")
        assert file.read() == b"\x01\0\0\0\0\0\0\x09got word\n"
    with hijacked(engine, "talk/attach?logs=1&stdout=1") as (_, file):
        assert file.read() == b"\x01\0\0\0\0\0\0\x07before\n\x01\0\0\0\0\0\0\x09got word\n"


@contextmanager
def hijacked(engine, path):
    """The connection of a POST, behind its head."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(WITHIN)
        client.connect(str(engine.instance.api_socket))
        client.sendall(f"POST /v1.43/containers/{path} HTTP/1.1\r\nHost: d\r\nUpgrade: tcp\r\n"
                       "Connection: Upgrade\r\n\r\n".encode())
        with client.makefile("rb") as file:
            while file.readline() != b"\r\n":
                continue
            yield client, file


def actions_of(engine, name):
    told = engine.ok("events", "--since", "1", "--until", str(int(time.time()) + 1), "--filter", f"container={name}",
                     "--format", "{{json .}}")
    return [(event["Action"], event["Actor"]["Attributes"]) for event in map(json.loads, told.splitlines())]


def test_events_tell_who_looked_attached_and_ran_commands(engine):
    engine.ok("run", "-d", "-t", "-i", "--name", "looked-at", "busybox", "sh")
    engine.ok("top", "looked-at")
    engine.ok("exec", "looked-at", "echo", "hi")
    # docker's own client looks for the keys itself, and only hangs up.
    with hijacked(engine, "looked-at/attach?stream=1&stdin=1&stdout=1&detachKeys=q") as (client, file):
        client.sendall(b"\nq")
        file.read()
    with hijacked(engine, "looked-at/resize?h=30&w=100"):
        pass
    deadline = time.monotonic() + WITHIN
    while not (told := [action for action, _ in actions_of(engine, "looked-at")]).count("detach"):
        assert time.monotonic() < deadline, told
    wanted = ["create", "start", "top", "exec_create: echo hi", "exec_start: echo hi", "exec_die", "attach", "detach"]
    assert [action for action in told if action in wanted] == wanted
    sizes = [attributes for action, attributes in actions_of(engine, "looked-at") if action == "resize"]
    assert ("30", "100") in [(size["height"], size["width"]) for size in sizes]
