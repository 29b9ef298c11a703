"""Contexts in docker's own store: whoever writes them, both commands find the same engine."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.tar import Entry, Writer
from pier_cli import context_archive, contexts, ssh
from pier_cli.context import Context
from pier_cli.failure import Failure
from tests import certificates, tools
from tests.unit.cli.server import json_answer, serving

PIER = str(tools.PROJECT / "bin" / "pier")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's configuration, and nothing in the environment that names an engine."""
    for name in ("PIER_HOST", "DOCKER_HOST", "PIER_INSTANCE", "DOCKER_CONTEXT", "PIER_RUN", "DOCKER_TLS_VERIFY"):
        monkeypatch.delenv(name, raising=False)
        _environment().pop(name.encode(), None)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setitem(_environment(), b"DOCKER_CONFIG", str(tmp_path).encode())
    return tmp_path


def _environment() -> dict[bytes, bytes]:
    """What the command reads: posix.environ, which os.environ does not change."""
    import posix

    return posix.environ


def pier(*words: str, code: int = 0, **variables: str) -> tuple[str, str]:
    """Standard output and error of the real command."""
    environment = {key: value for key, value in os.environ.items() if key in ("PATH", "DOCKER_CONFIG", "HOME")}
    done = subprocess.run([PIER, *words], capture_output=True, text=True, timeout=20, check=False,
                          env={**environment, **variables})
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout, done.stderr


def docker(*words: str) -> str:
    environment = {key: value for key, value in os.environ.items() if key in ("PATH", "DOCKER_CONFIG", "HOME")}
    try:
        program = tools.program("docker")
    except FileNotFoundError as error:
        pytest.skip(str(error))
    return subprocess.run([program, *words], capture_output=True, text=True, timeout=20, check=True,
                          env=environment).stdout


def test_what_pier_creates_docker_reads_and_the_reverse(home: Path) -> None:
    out, said = pier("context", "create", "lab", "--description", "a <lab>", "--docker", "host=tcp://192.0.2.1:2376")
    assert (out, said) == ("lab\n", 'Successfully created context "lab"\n')
    (theirs,) = json.loads(docker("context", "inspect", "lab"))
    (ours,) = json.loads(pier("context", "inspect", "lab")[0])
    assert theirs["Endpoints"]["docker"]["Host"] == ours["Endpoints"]["docker"]["Host"] == "tcp://192.0.2.1:2376"
    assert theirs["Metadata"]["Description"] == ours["Metadata"]["Description"] == "a <lab>"
    assert theirs["Storage"] == ours["Storage"]
    docker("context", "create", "other", "--docker", "host=unix:///other.sock")
    docker("context", "use", "other")
    assert pier("context", "show")[0] == "other\n"
    assert Context().host == "unix:///other.sock"
    lines = pier("context", "ls")[0].splitlines()
    assert lines[0].split("  ")[0] == "NAME"
    assert [line.split()[:2] for line in lines[1:]][2] == ["other", "*"]
    assert docker("context", "ls", "-q").split() == ["default", "lab", "other"]
    assert pier("context", "ls", "-q")[0].split() == ["default", "lab", "other"]
    pier("context", "use", "lab")
    assert "\nlab *" in docker("context", "ls")
    pier("context", "update", "lab", "--docker", "host=tcp://192.0.2.9:1", "--description", "another")
    assert pier("context", "inspect", "--format", "{{.Metadata.Description}}", "lab")[0] == "another\n"
    assert "lab another\n" in pier("context", "ls", "--format", "{{.Name}} {{.Description}}")[0]
    assert json.loads(docker("context", "inspect", "lab"))[0]["Endpoints"]["docker"]["Host"] == "tcp://192.0.2.9:1"
    assert "is in use, set -f flag" in pier("context", "rm", "lab", code=1)[1]
    assert pier("context", "rm", "-f", "lab", "other")[0] == "lab\nother\n"
    assert docker("context", "ls", "-q").split() == ["default"]
    assert "currentContext" not in json.loads((home / "config.json").read_text())


def test_tls_files_of_a_context_are_kept_for_their_owner_alone(home: Path) -> None:
    for name in ("ca", "cert", "key"):
        (home / name).write_text(f"the {name}")
    words = f"host=tcp://192.0.2.1:2376,ca={home}/ca,cert={home}/cert,key={home}/key,skip-tls-verify=true"
    pier("context", "create", "safe", "--docker", words)
    (theirs,) = json.loads(docker("context", "inspect", "safe"))
    assert theirs["TLSMaterial"] == {"docker": ["ca.pem", "cert.pem", "key.pem"]}
    assert theirs["Endpoints"]["docker"]["SkipTLSVerify"] is True
    named = contexts.find("safe")
    assert Path(named.tls["key"]).read_text() == "the key"
    assert Path(named.tls["key"]).stat().st_mode & 0o777 == 0o600
    files = Context(named="safe")._files()
    assert files is not None
    assert (files.key, files.verify) == (named.tls["key"], False)
    pier("context", "create", "copy", "--from", "safe")
    assert Path(contexts.find("copy").tls["ca"]).read_text() == "the ca"


def certified(directory: Path) -> str:
    """Words for --docker, with files that docker takes for certificates."""
    certificate, key = certificates.make(directory, "lab", "192.0.2.1")
    return f"host=tcp://192.0.2.1:2376,ca={certificate},cert={certificate},key={key}"


@pytest.mark.parametrize("text", ["{", '{"a": }', "[1,", '{"a": "b', "x", "[" * 100_000])
def test_a_configuration_that_is_no_json_is_told_as_one(home: Path, text: str) -> None:
    (home / "config.json").write_text(text)
    assert pier("context", "use", "default", code=1)[1] == f"{home}/config.json: not JSON\n"


def test_what_docker_exports_pier_imports_and_the_reverse(home: Path) -> None:
    docker("context", "create", "theirs", "--description", "a lab", "--docker", certified(home))
    file = home / "file"
    docker("context", "export", "theirs", str(file))
    assert pier("context", "import", "ours", str(file)) == ("ours\n", 'Successfully imported context "ours"\n')
    assert shown(docker("context", "inspect", "ours")) == shown(docker("context", "inspect", "theirs"))
    assert contexts.files("ours") == contexts.files("theirs") != {}
    back = home / "back"
    assert pier("context", "export", "ours", str(back)) == ("", f'Written file "{back}"\n')
    assert back.stat().st_mode & 0o777 == 0o600
    docker("context", "import", "again", str(back))
    assert shown(docker("context", "inspect", "again")) == shown(docker("context", "inspect", "theirs"))
    assert contexts.files("again") == contexts.files("theirs")


def shown(text: str) -> object:
    (document,) = json.loads(text)
    return document["Metadata"], document["Endpoints"], document["TLSMaterial"]


def test_a_context_goes_through_a_pipe(home: Path) -> None:
    pier("context", "create", "lab", "--docker", certified(home))
    script = f"{PIER} context export lab - | {PIER} context import copy -"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=20, check=True,
                          env={**os.environ, "DOCKER_CONFIG": str(home)})
    assert done.stdout == "copy\n"
    assert contexts.files("copy") == contexts.files("lab") != {}
    assert contexts.find("copy").host == "tcp://192.0.2.1:2376"


def test_an_export_goes_to_a_file_named_after_the_context_and_writes_over_none(home: Path, tmp_path: Path) -> None:
    pier("context", "create", "lab", "--docker", "host=tcp://192.0.2.1:1")
    here = tmp_path / "here"
    here.mkdir()
    words = [PIER, "context", "export", "lab"]
    done = [subprocess.run(words, cwd=here, capture_output=True, text=True, timeout=20, check=False,
                           env={**os.environ, "DOCKER_CONFIG": str(home)}) for _ in range(2)]
    assert [each.returncode for each in done] == [0, 1]
    assert done[1].stderr == "open lab.dockercontext: file exists\n"
    document, files = context_archive.unpack([(here / "lab.dockercontext").read_bytes()])
    assert (document["Name"], files) == ("lab", {})


def archive(*entries: tuple[str, bytes]) -> bytes:
    parts: list[bytes] = []
    writer = Writer(parts.append)
    for name, data in entries:
        writer.add(Entry(name.encode(), size=len(data)), [data])
    writer.close()
    return b"".join(parts)


META = ("meta.json", b'{"Name": "x", "Endpoints": {}}')


@pytest.mark.parametrize(("data", "said"), [
    (archive(META, ("tls/docker/../../../../evil", b"x")), "unexpected context file"),
    (archive(META, ("tls/../evil", b"x")), "unexpected context file"),
    (archive(META, ("/etc/evil", b"x")), "unexpected context file"),
    (archive(META, ("tls/docker/a/b", b"x")), "unexpected context file"),
    (archive(META, ("tls//evil", b"x")), "unexpected context file"),
    (archive(("tls/docker/ca.pem", b"x")), "no metadata found"), (b"", "no metadata found"),
    (archive(("meta.json", b"[]")), "not a JSON object"), (archive(("meta.json", b"{")), "invalid context"),
    (archive(META, ("tls/docker/ca.pem", bytes(11 << 20))), "exceeds the defined limit"),
    (archive(META)[:520], "invalid context"), (b"x" * 600, "invalid context"),
    (b"PK\x03\x04", "a zip archive is not taken"),
])
def test_an_archive_that_is_no_context_leaves_nothing(home: Path, data: bytes, said: str) -> None:
    (home / "file").write_bytes(data)
    assert said in pier("context", "import", "new", str(home / "file"), code=1)[1]
    assert not (home / "contexts").exists()


NAMES = st.text("abcXYZ019_-é ", min_size=1, max_size=12)


@given(st.dictionaries(NAMES, st.dictionaries(NAMES, st.binary(max_size=2000), min_size=1, max_size=3), max_size=3))
def test_what_is_packed_is_unpacked_again(files: dict[str, dict[str, bytes]]) -> None:
    document = {"Name": "x", "Endpoints": {name: {} for name in files}}
    data = context_archive.pack(document, files)
    assert context_archive.unpack(data[start:start + 700] for start in range(0, len(data), 700)) == (document, files)


@pytest.mark.parametrize(("variables", "words", "host"), [
    ({}, (), "unix:///run/pier/pier.sock"),
    ({"DOCKER_CONTEXT": "lab"}, (), "tcp://lab:1"),
    ({"DOCKER_CONTEXT": "lab", "DOCKER_HOST": "unix:///env.sock"}, (), "unix:///env.sock"),
    ({"DOCKER_HOST": "unix:///env.sock"}, ("lab",), "tcp://lab:1"),
])
def test_which_engine_is_meant(
    home: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], words: tuple[str, ...], host: str
) -> None:
    pier("context", "create", "lab", "--docker", "host=tcp://lab:1")
    for name, value in variables.items():
        monkeypatch.setitem(_environment(), name.encode(), value.encode())
    assert Context(named=words[0] if words else "").host == host


@pytest.mark.parametrize(("words", "said"), [
    (("-c", "lab", "-H", "unix:///x", "ps"), "cannot specify both --host and --context"),
    (("-c", "nope", "ps"), 'context "nope": context not found'),
    (("context", "create", "default", "--docker", "host=unix:///x"), '"default" is a reserved context name'),
    (("context", "create", "a/b", "--docker", "host=unix:///x"), "names are validated against regexp"),
    (("context", "create", "ok"), "docker endpoint configuration is required"),
    (("context", "create", "ok", "--docker", "host=unix:///x,cert=/nope,key=/nope"), "no such file or directory"),
    (("context", "create", "ok", "--docker", "what=1"), "unrecognized config key: what"),
    (("context", "create", "ok", "--docker", "host=ssh://-oProxyCommand=x/"), "unable to parse docker host"),
    (("context", "use", "nope"), "context not found"), (("context", "export", "nope"), "context not found"),
    (("context", "import", "a/b", "x"), "names are validated against regexp"),
    (("context", "import", "ok", "/nowhere/x"), "no such file or directory"),
    (("context", "rm", "default"), "cannot be removed"),
])
def test_what_is_wrong_is_refused(home: Path, words: tuple[str, ...], said: str) -> None:
    assert said in pier(*words, code=1)[1]
    assert not (home / "contexts").exists()


@pytest.mark.parametrize(("address", "parts"), [
    ("ssh://host", ("", "host", "", "")), ("ssh://me@host:22", ("me", "host", "22", "")),
    ("ssh://host/run/x.sock", ("", "host", "", "/run/x.sock")), ("ssh://[::1]:22", ("", "::1", "22", "")),
])
def test_addresses_of_other_machines(address: str, parts: tuple[str, str, str, str]) -> None:
    assert ssh.parse(address) == parts


@pytest.mark.parametrize("address", [
    "ssh://", "ssh://-l", "ssh://-oX@h", "ssh://me:secret@host", "ssh://host:x", "ssh://h/a'b", "ssh://h;rm",
    "ssh://h/$(x)",
])
def test_an_address_that_ssh_or_a_shell_would_take_for_more_is_refused(address: str) -> None:
    with pytest.raises(Failure, match="unable to parse docker host"):
        ssh.parse(address)


def test_an_engine_is_reached_by_ssh_and_dial_stdio(home: Path, tmp_path: Path) -> None:
    """An ssh that runs what it is asked to run right here."""
    programs = tmp_path / "programs"
    programs.mkdir()
    fake = programs / "ssh"
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@" >>"$SSH_WORDS"\nfor last; do :; done\nexec sh -c "$last"\n')
    fake.chmod(0o755)
    (programs / "pier").symlink_to(PIER)
    answer = json_answer("[]")
    with serving(tmp_path / "far.sock", answer, answer) as server:
        path = server.host.removeprefix("unix://")
        out, _ = pier("-H", f"ssh://me@far:2222{path}", "ps", "-q", PATH=f"{programs}:{os.environ['PATH']}",
                      SSH_WORDS=str(tmp_path / "words"), DOCKER_API_VERSION="1.45")
    assert out == ""
    words = (tmp_path / "words").read_text().splitlines()
    assert words[:8] == ["-o", "ConnectTimeout=30", "-T", "-l", "me", "-p", "2222", "--"]
    assert server.requests[0].startswith(b"GET /v1.45/containers/json")


def test_dial_stdio_hands_both_ends_on(tmp_path: Path) -> None:
    """What is written after the other side has closed its half still arrives."""
    path = tmp_path / "engine.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        process = subprocess.Popen([PIER, "-H", f"unix://{path}", "system", "dial-stdio"], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE)
        connection, _ = listener.accept()
        with connection:
            assert process.stdin
            assert process.stdout
            process.stdin.write(b"asked")
            process.stdin.close()
            received = b""
            while data := connection.recv(100):
                received += data
            connection.sendall(b"answered")
        assert process.stdout.read() == b"answered"
        assert process.wait(10) == 0
        process.stdout.close()
    assert received == b"asked"
