"""Files in and out of containers, by the real client and by ours; what leads out of a container leads nowhere."""

import io
import json
import os
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import TODAYS_TOO
from tests.engine import sh, wait_until


@pytest.fixture(params=["running", "stopped", "created"])
def box(engine, request):
    """The name of a container in each state, with a file, a directory and links in it."""
    make = ("mkdir -p /data/sub; echo one > /data/one; echo two > /data/sub/two; ln -s /data /link; "
            "ln /data/one /data/hard; ln -s /etc/shadow /data/out; chmod 640 /data/one; chown 7:8 /data/one")
    if request.param == "created":
        engine.ok("create", "--name", "box", *sh("true"))
        done = engine.docker("cp", "-", "box:/", input=_tar({
            "data/sub/": None, "data/one": b"one\n", "data/sub/two": b"two\n"}), text=False)
        assert done.returncode == 0, done.stderr
        return "box"
    engine.ok("run", "-d", "--name", "box", *sh(f"{make}; touch /ready; trap 'exit 0' TERM; sleep 1000 & wait"))
    wait_until(lambda: engine.docker("exec", "box", "test", "-e", "/ready").returncode == 0)
    if request.param == "stopped":
        engine.ok("stop", "box")
    return "box"


def _tar(files):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            else:
                info.size, info.mode = len(content), 0o644
            archive.addfile(info, io.BytesIO(content or b""))
    return data.getvalue()


def content(archive, name):
    member = archive.extractfile(name)
    assert member is not None, name
    return member.read()


@TODAYS_TOO
def test_a_file_and_a_directory_come_out_and_go_in(client, box, tmp_path):
    client.ok("cp", f"{box}:/data/one", str(tmp_path / "got"))
    assert (tmp_path / "got").read_text() == "one\n"
    client.ok("cp", f"{box}:/data", str(tmp_path))
    assert (tmp_path / "data/sub/two").read_text() == "two\n"
    client.ok("cp", f"{box}:/data/.", str(tmp_path / "flat"))
    assert (tmp_path / "flat/sub/two").read_text() == "two\n"
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").write_bytes(os.urandom(3 << 20))
    client.ok("cp", str(tmp_path / "tree"), f"{box}:/new")
    client.ok("cp", f"{box}:/new/file", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == (tmp_path / "tree/file").read_bytes()
    client.ok("cp", str(tmp_path / "tree/file"), f"{box}:/data/sub/")
    client.ok("cp", f"{box}:/data/sub/file", str(tmp_path / "again"))
    assert (tmp_path / "again").stat().st_size == 3 << 20


def test_an_archive_goes_through_the_pipe_both_ways(client, box):
    done = client.run("cp", "-", f"{box}:/data", input=_tar({"piped": b"p" * 70000}), text=False)
    assert done.returncode == 0, done.stderr
    done = client.run("cp", f"{box}:/data/piped", "-", text=False)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        assert archive.getnames() == ["piped"]
        assert content(archive, "piped") == b"p" * 70000


def test_a_reader_that_hangs_up_leaves_the_container_to_others(client, engine, tmp_path):
    """It was held by a program that nobody read from, until the garbage collector came by."""
    engine.ok("run", "--name", "box", *sh("dd if=/dev/zero of=/big bs=1M count=40"))
    (tmp_path / "small").write_text("x")
    for _ in range(5):
        with client.start("cp", "box:/big", "-", stdout=subprocess.PIPE) as reader:
            assert len(reader.stdout.read(100_000)) == 100_000
            reader.stdout.close()
        client.ok("cp", str(tmp_path / "small"), "box:/small", timeout=20)


def test_what_is_not_there_is_told(client, box, tmp_path):
    # docker before 23 says "No such container:path" itself.
    assert "/nope" in client.run("cp", "box:/nope", str(tmp_path)).stderr
    (tmp_path / "x").write_text("x")
    missing = client.run("cp", str(tmp_path / "x"), "box:/no/such/place/")
    assert missing.returncode == 1
    assert "no such directory" in missing.stderr or "/no/such/place" in missing.stderr
    assert "no such" in client.run("cp", str(tmp_path / "nope"), "box:/").stderr.lower()
    assert "nobody" in client.run("cp", "nobody:/x", str(tmp_path)).stderr


def test_modes_owners_links_and_times_are_kept(engine, tmp_path):
    engine.ok("run", "--name", "links", *sh(
        "mkdir /d; cd /d; echo x > a; ln a b; ln -s a c; ln -s /etc/passwd abs; mkfifo f; chown 12:34 a; "
        "chmod 4751 a; touch -d '2001-02-03 04:05:06' a; printf '%s' > $(printf 'n\\377')"))
    done = engine.docker("cp", "links:/d", "-", text=False)
    with tarfile.open(fileobj=io.BytesIO(done.stdout), errors="surrogateescape") as archive:
        found = {entry.name: entry for entry in archive}
    assert set(found) == {"d", "d/a", "d/b", "d/c", "d/abs", "d/f", "d/n\udcff"}
    a = found["d/a"]
    assert (a.mode, a.uid, a.gid, a.mtime, a.uname) == (0o4751, 12, 34, 981173106, "")
    assert (found["d/b"].type, found["d/b"].linkname) == (tarfile.LNKTYPE, "d/a")
    assert (found["d/c"].linkname, found["d/abs"].linkname) == ("a", "/etc/passwd")
    assert found["d/f"].type == tarfile.FIFOTYPE


def test_volumes_and_binds_are_gone_through_whether_it_runs_or_not(client, engine, tmp_path):
    (tmp_path / "host").mkdir()
    (tmp_path / "host/file").write_text("host")
    engine.ok("create", "--name", "mounts", "-v", "vol:/vol", "-v", f"{tmp_path}/host:/bind:ro", *sh("sleep 1000"))
    (tmp_path / "new").write_text("new")
    for state in ("created", "running"):
        client.ok("cp", "mounts:/bind/file", str(tmp_path / state))
        assert (tmp_path / state).read_text() == "host"
        client.ok("cp", str(tmp_path / "new"), f"mounts:/vol/{state}")
        refused = client.run("cp", str(tmp_path / "new"), "mounts:/bind/new")
        assert refused.returncode == 1
        assert "read-only" in refused.stderr
        if state == "created":
            engine.ok("start", "mounts")
    assert engine.ok("exec", "mounts", "ls", "/vol").split() == ["created", "running"]
    assert not (tmp_path / "host/new").exists()


@pytest.mark.parametrize("running", [False, True])
def test_a_read_only_container_takes_nothing(client, engine, tmp_path, running):
    engine.ok("create", "--name", "ro", "--read-only", "-v", "vol:/vol", *sh("sleep 1000"))
    if running:
        engine.ok("start", "ro")
    (tmp_path / "x").write_text("x")
    refused = client.run("cp", str(tmp_path / "x"), "ro:/etc/x")
    assert refused.returncode == 1
    assert "read-only" in refused.stderr
    client.ok("cp", str(tmp_path / "x"), "ro:/vol/x")


def test_26_links_never_lead_out_of_the_container(client, engine, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    engine.ok("run", "-d", "--name", "evil", *sh(
        f"ln -s {tmp_path} /up; ln -s / /root-link; mkdir /x; ln -s ../../../../../../../.. /x/dots; "
        "ln -s /proc/1/root /x/p; touch /ready; sleep 1000"))
    wait_until(lambda: engine.docker("exec", "evil", "test", "-e", "/ready").returncode == 0)
    (tmp_path / "in").write_text("in")
    for state in ("running", "stopped"):
        for path in (f"/up/{secret.name}", f"/x/dots{secret}", f"/x/p{secret}", f"/../../../..{secret}"):
            assert client.run("cp", f"evil:{path}", str(tmp_path / "out")).returncode == 1
            assert not (tmp_path / "out").exists()
        client.run("cp", str(tmp_path / "in"), "evil:/up/planted")
        client.run("cp", str(tmp_path / "in"), "evil:/x/dots/planted")
        assert not (tmp_path / "planted").exists()
        assert not Path("/planted").exists()
        if state == "running":
            engine.ok("kill", "evil")


def test_the_kernels_file_systems_are_no_files_of_the_container(client, engine, tmp_path):
    engine.ok("run", "-d", "--name", "kernel", *sh("sleep 1000"))
    assert "/proc/version" in client.run("cp", "kernel:/proc/version", str(tmp_path)).stderr
    done = engine.docker("cp", "kernel:/", "-", text=False)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        names = archive.getnames()
    assert any(name.endswith("bin/busybox") for name in names)
    assert not any("proc/1" in name or "sys/kernel" in name for name in names)


def test_the_users_ownership_is_given_on_request(engine, client, tmp_path):
    engine.ok("create", "--name", "owned", "-u", "33:44", *sh("stat -c %u:%g /tmp-a /tmp-b"))
    (tmp_path / "file").write_text("x")
    os.chown(tmp_path / "file", 55, 66)
    client.ok("cp", "-a", str(tmp_path / "file"), "owned:/tmp-a")
    client.ok("cp", str(tmp_path / "file"), "owned:/tmp-b")
    assert engine.ok("start", "-a", "owned").split() == ["33:44", "55:66"]
    engine.ok("create", "--name", "no-user", *sh("stat -c %u:%g /tmp-a"))
    client.ok("cp", "-a", str(tmp_path / "file"), "no-user:/tmp-a")
    assert engine.ok("start", "-a", "no-user") == "55:66"


def test_links_are_copied_as_links_or_followed_on_request(client, engine, tmp_path):
    engine.ok("run", "--name", "linked", *sh("mkdir /d; echo inside > /d/real; ln -s real /d/link"))
    client.ok("cp", "linked:/d/link", str(tmp_path / "link"))
    assert os.readlink(tmp_path / "link") == "real"
    client.ok("cp", "-L", "linked:/d/link", str(tmp_path / "followed"))
    assert (tmp_path / "followed").read_text() == "inside\n"
    (tmp_path / "real").write_text("outside")
    client.ok("cp", str(tmp_path / "link"), "linked:/d/sent")
    client.ok("cp", "-L", str(tmp_path / "link"), "linked:/d/resolved")
    with tarfile.open(fileobj=io.BytesIO(engine.docker("cp", "linked:/d/.", "-", text=False).stdout)) as archive:
        assert archive.getmember("./sent").issym()
        assert content(archive, "./resolved") == b"outside"


def test_a_stopped_container_is_not_started_while_it_is_read(engine, tmp_path):
    engine.ok("create", "--name", "big", *sh("cat /big | wc -c"))
    (tmp_path / "big").write_bytes(bytes(64 << 20))
    engine.ok("cp", str(tmp_path / "big"), "big:/big")
    reader = engine.start([*engine.argv("docker"), "cp", "big:/big", "-"], stdout=-1)
    head = reader.stdout.read(512)
    assert head.startswith(b"big")
    starter = engine.start([*engine.argv("docker"), "start", "-a", "big"], stdout=-1)
    rest = reader.stdout.read()
    assert len(rest) >= 64 << 20
    assert starter.communicate(timeout=30)[0].strip() == str(64 << 20).encode()
    assert reader.communicate()[0] == b""
    assert reader.returncode == 0


def test_events_tell_what_was_copied(engine, tmp_path):
    since = f"{time.time():.9f}"
    engine.ok("create", "--name", "told", *sh("true"))
    (tmp_path / "x").write_text("x")
    engine.ok("cp", str(tmp_path / "x"), "told:/tmp/x")
    engine.ok("cp", "told:/tmp/x", str(tmp_path / "y"))
    until = f"{time.time():.9f}"
    told = engine.ok("events", "--since", since, "--until", until, "-f", "container=told", "--format", "{{json .}}")
    actions = [json.loads(line)["Action"] for line in told.splitlines()]
    copies = ("extract-to-dir", "archive-path")
    assert tuple(each for each in actions if each in copies) == copies
