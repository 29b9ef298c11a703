"""Volumes as containers use them: named, anonymous, declared by an image, filled at first use, removed by the rules."""

import json
import os
import stat
from pathlib import Path

import pytest

from deploy.busybox_image import Entry as File
from deploy.busybox_image import Image, busybox_image, directory, docker_archive, layer, symlink
from tests.engine import sh, wait_until

IMAGE = "with-data:1"


@pytest.fixture(scope="module")
def data_image(engine):
    """Declares /data and /link/below as volumes; /data has files in the lower layer, changed by the upper one."""
    lower = layer([
        directory("data", 0o2775, uid=33, gid=33), File("data/kept", mode=0o640, data=b"kept", uid=33),
        File("data/gone", data=b"gone"), directory("data/sub", 0o700), symlink("data/to-kept", "kept"),
        symlink("data/out", "/etc/passwd"), symlink("link", "/data/../../data"),
        File("data/big", data=b"x" * 300_000),
    ])
    upper = layer([directory("data", 0o2775, uid=33, gid=33), File("data/.wh.gone"), File("data/sub/new", data=b"new")])
    image = Image([*busybox_image().layers, lower, upper],
                  {"Cmd": ["sh"], "Env": ["PATH=/bin"], "Volumes": {"/data": {}, "/link/sub": {}},
                   "ExposedPorts": {"8080/tcp": {}, "53/udp": {}}})
    archive = docker_archive({IMAGE: image})
    engine.run([*engine.argv("pier"), "load"], input=archive, text=False, check=True)
    yield IMAGE
    engine.ok("rmi", IMAGE)


@pytest.fixture(autouse=True)
def no_volumes_left(engine):
    """Others' neither: tests here say which ones there are."""
    _remove_volumes(engine)
    yield
    engine.remove_everything()
    _remove_volumes(engine)


def _remove_volumes(engine):
    if names := engine.ok("volume", "ls", "-q").split():
        engine.ok("volume", "rm", *names)


def volumes(engine):
    return set(engine.ok("volume", "ls", "-q").split())


def mounts(engine, name):
    return {mount["Destination"]: mount for mount in engine.inspect(name)["Mounts"]}


def test_a_named_volume_outlives_its_containers_and_is_shared(client, engine):
    client.ok("run", "--rm", "-v", "shared:/here", *sh("echo one > /here/file"))
    client.ok("run", "-d", "--name", "writer", "-v", "shared:/there", *sh("echo two >> /there/file; sleep 1000"))
    wait_until(lambda: client.ok("run", "--rm", "-v", "shared:/x:ro", "busybox", "cat", "/x/file") == "one\ntwo")
    assert client.run("run", "--rm", "-v", "shared:/x:ro", "busybox", "touch", "/x/no").returncode == 1
    mount = mounts(engine, "writer")["/there"]
    assert (mount["Type"], mount["Name"], mount["Driver"], mount["RW"]) == ("volume", "shared", "local", True)
    assert client.run("volume", "rm", "shared").returncode == 1
    assert "volume is in use" in client.run("volume", "rm", "shared").stderr
    client.ok("rm", "-f", "-v", "writer")
    assert volumes(engine) == {"shared"}, "rm -v takes anonymous ones alone"
    client.ok("volume", "rm", "shared")


def test_an_anonymous_volume_goes_with_its_container_where_that_is_asked(client, engine):
    client.ok("run", "--rm", "-v", "/data", *sh("echo x > /data/x"))
    assert volumes(engine) == set(), "--rm"
    for options, left in (((), 1), (("-v",), 0)):
        client.ok("create", "--name", "keeper", "--mount", "type=volume,target=/data", "busybox")
        assert len(volumes(engine)) == 1
        client.ok("rm", *options, "keeper")
        assert len(volumes(engine)) == left
        if left:
            engine.ok("volume", "rm", *volumes(engine))


def test_an_anonymous_volume_that_another_container_has_stays(client, engine):
    engine.ok("create", "--name", "first", "-v", "/data", "busybox")
    (name,) = volumes(engine)
    engine.ok("create", "--name", "second", "-v", f"{name}:/other", "busybox")
    client.ok("rm", "-v", "first")
    assert volumes(engine) == {name}


def test_27_28_an_empty_volume_gets_what_the_image_has_there(client, engine, data_image):
    client.ok("create", "--name", "filled", "-v", "named:/data", data_image)
    (found,) = [mount for mount in engine.inspect("filled")["Mounts"] if mount["Name"] == "named"]
    data = Path(found["Source"])
    assert sorted(os.listdir(data)) == ["big", "kept", "out", "sub", "to-kept"]
    status = data.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o2775, 33, 33)
    kept = (data / "kept").stat()
    assert ((data / "kept").read_text(), stat.S_IMODE(kept.st_mode), kept.st_uid) == ("kept", 0o640, 33)
    assert int(kept.st_mtime) == 1672531200
    assert (data / "sub/new").read_text() == "new"
    assert os.readlink(data / "out") == "/etc/passwd"
    (data / "kept").write_text("changed")
    client.ok("run", "--rm", "-v", "named:/data", data_image, "grep", "-q", "changed", "/data/kept")
    # Declared volumes are made, where nothing else is mounted, and found without leaving the image.
    declared = mounts(engine, "filled")["/link/sub"]
    assert os.listdir(declared["Source"]) == ["new"]


def test_what_the_image_declares_is_shown(client, engine, data_image):
    client.ok("create", "--name", "shown", "--expose", "99", data_image)
    config = engine.inspect("shown")["Config"]
    assert config["ExposedPorts"] == {"53/udp": {}, "8080/tcp": {}, "99/tcp": {}}
    assert config["Volumes"] == {"/data": {}, "/link/sub": {}}
    for mount in engine.inspect("shown")["Mounts"]:
        assert "com.docker.volume.anonymous" in json.loads(engine.ok("volume", "inspect", mount["Name"]))[0]["Labels"]


@pytest.mark.parametrize("options", [
    ("-v", "bare:/data:nocopy"), ("--mount", "type=volume,source=bare,target=/data,volume-nocopy"),
    ("-v", "bare:/nothing/there"),
])
def test_a_volume_stays_empty_where_nothing_is_to_be_copied(client, engine, data_image, options):
    client.ok("create", "--name", "empty", *options, data_image)
    (found,) = [mount for mount in engine.inspect("empty")["Mounts"] if mount["Name"] == "bare"]
    assert os.listdir(found["Source"]) == []


def test_a_bind_below_a_volume_is_seen(client, tmp_path):
    (tmp_path / "file").write_text("bound")
    assert client.ok("run", "--rm", "-v", f"{tmp_path}:/v/below", "-v", "outer:/v", "busybox", "cat", "/v/below/file"
                     ) == "bound"


def test_a_name_may_be_as_long_as_a_files(client, engine):
    made, by_use = "v" * 255, "w" * 255
    client.ok("volume", "create", made)
    for name in (made, by_use):
        client.ok("run", "--rm", "-v", f"{name}:/x", "busybox", "touch", "/x/y")
        assert client.ok("volume", "inspect", "--format", "{{.Name}}", name) == name
        client.ok("volume", "rm", name)
    assert client.run("volume", "create", "v" * 256).returncode == 1


def test_a_bad_name_or_driver_is_refused_and_leaves_nothing(client, engine):
    for options, words in (
        (("-v", "b@d:/x"), "includes invalid characters for a local volume name"),
        (("--mount", "type=volume,source=ok,target=/x,volume-driver=nfs4"), "not found"),
        (("-v", "one:/x", "-v", "two:/x"), "Duplicate mount point"),
    ):
        done = client.run("create", *options, "busybox")
        assert done.returncode != 0
        assert words in done.stderr, options
    assert engine.ok("ps", "-aq") == ""
    assert volumes(engine) == set()


def test_a_run_right_after_the_gateways_death_leaves_no_anonymous_volume(engine, client, data_image):
    engine.kill("gateway")
    engine.wait_serving()
    done = client.run("run", "--rm", "--name", "gone", data_image, "true")
    assert done.returncode == 0
    wait_until(lambda: volumes(engine) == set())


def test_volumes_and_binds_are_taken_from_another_container(client, engine, tmp_path):
    (tmp_path / "file").write_text("bound")
    engine.ok("create", "--name", "holder", "-v", "held:/v", "-v", "/anonymous", "-v", f"{tmp_path}:/b", "busybox")
    client.ok("run", "--rm", "--volumes-from", "holder", *sh("echo x > /v/x; echo y > /anonymous/y; cat /b/file"))
    told = client.run("run", "--rm", "--volumes-from", "holder:ro", *sh("cat /v/x /anonymous/y; echo no > /v/no"))
    assert told.stdout.splitlines() == ["x", "y"]
    assert "Read-only file system" in told.stderr
    assert len(volumes(engine)) == 2, "--rm takes nothing of another's"
    assert "No such container: nope" in client.run("create", "--volumes-from", "nope", "busybox").stderr


def test_every_exposed_port_is_published_on_request(client, engine):
    client.ok("run", "-d", "--name", "ports", "-P", "--expose", "81", "--expose", "53/udp", "-p", "127.0.0.1::82",
              *sh("sleep 1000"))
    found = {line.partition(" ")[0] for line in client.ok("port", "ports").splitlines()}
    assert found == {"81/tcp", "53/udp", "82/tcp"}


def test_a_volume_may_be_a_directory_of_the_hosts(client, engine, tmp_path, data_image):
    place = tmp_path / "place"
    place.mkdir()
    options = ("-o", "type=none", "-o", "o=bind", "-o", f"device={place}")
    client.ok("volume", "create", *options, "hosts")
    assert engine.inspect("hosts")["Options"] == {"type": "none", "o": "bind", "device": str(place)}
    client.ok("run", "--rm", "-v", "hosts:/v", "busybox", "sh", "-c", "echo mine > /v/file")
    assert (place / "file").read_text() == "mine\n"
    client.ok("volume", "rm", "hosts")
    assert (place / "file").read_text() == "mine\n", "what is the host's stays"
    (place / "file").unlink()
    client.ok("volume", "create", *options, "hosts")
    target = next(iter(engine.inspect(data_image)["Config"]["Volumes"]))
    client.ok("create", "--name", "filled", "-v", f"hosts:{target}", data_image)
    assert list(place.iterdir()), "an empty one gets what the image has there"
    client.ok("rm", "filled")
    client.ok("volume", "rm", "hosts")
    client.ok("volume", "create", "-o", "o=bind", "-o", f"device={tmp_path}/nothing", "hosts")
    done = client.run("run", "--rm", "-v", "hosts:/v", "busybox", "true")
    assert done.returncode != 0
    assert "nothing" in done.stderr
    client.ok("volume", "rm", "hosts")


def test_a_part_of_a_volume_is_mounted_and_nothing_else(engine):
    engine.ok("run", "--rm", "-v", "parts:/v", *sh(
        "mkdir -p /v/a/b; echo in > /v/a/b/file; echo out > /v/file; ln -s / /v/root; ln -s /usr /v/out"))
    part = "type=volume,source=parts,target=/here,volume-subpath="
    assert pier(engine, "run", "--rm", "--mount", part + "a/b", "busybox", "cat", "/here/file") == "in"
    assert pier(engine, "run", "--rm", "--mount", part + "file", "busybox", "cat", "/here") == "out"
    # A link in the volume leads nowhere but into the volume.
    assert pier(engine, "run", "--rm", "--mount", part + "root/a", "busybox", "ls", "/here") == "b"
    assert "No such file" in failed(engine, "run", "--rm", "--mount", part + "out", "busybox", "true")
    assert "No such file" in failed(engine, "run", "--rm", "--mount", part + "none", "busybox", "true")
    assert "subpath must be a relative path within the volume" in failed(
        engine, "run", "--rm", "--mount", part + "../x", "busybox", "true")
    pier(engine, "create", "--name", "still", "--mount", part + "a", "busybox")
    engine.ok("cp", "still:/here/b/file", "/tmp/part")
    assert Path("/tmp/part").read_text() == "in\n"
    Path("/tmp/part").unlink()
    assert "volume is in use" in failed(engine, "volume", "rm", "parts")


def pier(engine, *arguments):
    """What the command prints; docker 20.10's has no word for a part of a volume."""
    done = engine.run([*engine.argv("pier"), *arguments])
    assert done.returncode == 0, done.stderr
    return done.stdout.rstrip("\n")


def failed(engine, *arguments):
    """What the command says that fails."""
    done = engine.run([*engine.argv("pier"), *arguments])
    assert done.returncode
    return done.stderr


def test_48_a_part_that_is_swapped_for_a_link_leads_nowhere(engine):
    """A container swaps the part for a link to the host's files again and again while others mount it."""
    engine.ok("run", "--rm", "-v", "race:/v", *sh("mkdir -p /v/a; echo in > /v/a/hostname; ln -s /etc /v/link"))
    engine.ok("run", "-d", "--name", "swapper", "-v", "race:/v", *sh(
        "cd /v; while :; do mv a b; mv link a; mv a link; mv b a; done"))
    part = "type=volume,source=race,target=/here,volume-subpath=a"
    for _ in range(10):
        done = engine.run([*engine.argv("pier"), "run", "--rm", "--mount", part, "busybox", "cat", "/here/hostname"])
        assert done.stdout in ("", "in\n"), done


def test_a_volume_in_memory_is_the_first_containers_and_gone_with_the_last(client, engine):
    client.ok("volume", "create", "-d", "local", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=4m", "memory")
    client.ok("run", "-d", "--name", "first", "-v", "memory:/m", *sh("echo one > /m/file; sleep 1000"))
    wait_until(lambda: client.run("exec", "first", "cat", "/m/file").stdout == "one\n")
    assert "tmpfs 4096" in " ".join(client.ok("exec", "first", "df", "/m").split())
    client.ok("run", "-d", "--name", "second", "-v", "memory:/m:ro", *sh("sleep 1000"))
    assert client.ok("exec", "second", "cat", "/m/file") == "one"
    assert client.run("exec", "second", "touch", "/m/no").returncode == 1
    client.ok("exec", "first", *sh("echo two >> /m/file")[1:])
    assert client.ok("exec", "second", "cat", "/m/file") == "one\ntwo"
    client.ok("rm", "-f", "first")
    assert client.ok("exec", "second", "cat", "/m/file") == "one\ntwo"
    assert "volume is in use" in client.run("volume", "rm", "memory").stderr
    mount = mounts(engine, "second")["/m"]
    assert (mount["Type"], mount["Name"], mount["RW"]) == ("volume", "memory", False)
    client.ok("rm", "-f", "second")
    assert client.ok("run", "--rm", "-v", "memory:/m", "busybox", "ls", "/m") == ""


def test_a_servers_volume_is_mounted_by_the_kernel_and_its_word_is_told(client, engine):
    client.ok("volume", "create", "-o", "type=nfs", "-o", "device=:/export", "-o", "o=addr=127.0.0.1,vers=4", "remote")
    done = client.run("run", "--rm", "-v", "remote:/m", "busybox", "true")
    assert done.returncode == 125
    assert "mount nfs :/export" in done.stderr  # no NFS in this kernel, or nobody who serves it
    client.ok("volume", "create", "-o", "type=nfs", "-o", "device=:/x", "-o", "o=addr=nobody.invalid", "nowhere")
    assert "nobody.invalid" in client.run("run", "--rm", "-v", "nowhere:/m", "busybox", "true").stderr
