"""Images that set traps for what the engine makes in their root file systems."""

import json
import tarfile

import pytest

from deploy.busybox_image import Entry as File
from deploy.busybox_image import Image, busybox_image, directory, docker_archive, layer, symlink
from tests.engine import wait_until


@pytest.fixture
def loaded(engine):
    """Loads an image of busybox and one more layer under the name "trap:1"."""
    def load(entries, config):
        image = Image([*busybox_image().layers, layer(entries)], {"Cmd": ["sh"], "Env": ["PATH=/bin"], **config})
        engine.run([*engine.argv("pier"), "load"], input=docker_archive({"trap:1": image}), text=False, check=True)

    yield load
    engine.remove_everything()
    if names := engine.ok("volume", "ls", "-q").split():
        engine.ok("volume", "rm", *names)
    engine.ok("rmi", "-f", "trap:1")
    engine.ok("image", "prune", "-f")  # those that lost the name to a later one


def test_27_a_declared_volume_that_climbs_shows_nothing_of_the_host(engine, loaded, tmp_path):
    (tmp_path / "canary").write_text("host")
    climbing = [f"/../../../../..{tmp_path}", f"/a/../../../..{tmp_path}/.", f"/link/../..{tmp_path}"]
    links = [symlink("link", "../../../../.."), symlink("a", str(tmp_path))]
    loaded(links, {"Volumes": {path: {} for path in climbing}})
    engine.ok("create", "--name", "trapped", "trap:1")
    mounts = engine.inspect("trapped")["Mounts"]
    assert mounts
    for mount in mounts:
        assert ".." not in mount["Destination"]
    assert "canary" not in engine.ok("run", "--rm", "trap:1", "ls", "-R", f"/{tmp_path.parts[1]}")
    assert [path.name for path in tmp_path.iterdir()] == ["canary"]


def test_38_what_the_engine_puts_into_etc_follows_no_link_of_the_image(engine, loaded, tmp_path):
    canary = tmp_path / "canary"
    canary.write_text("host")
    for target in (str(canary), f"../../../../../..{canary}", "/proc/self/fd/1"):
        loaded([directory("etc"), symlink("etc/hosts", target), symlink("etc/resolv.conf", target),
                symlink("etc/hostname", target)], {})
        engine.docker("run", "--name", "trapped", "trap:1", "true")
        engine.docker("rm", "-f", "trapped")
        assert canary.read_text() == "host"
        assert [path.name for path in tmp_path.iterdir()] == ["canary"]


def test_29_labels_of_an_image_steer_nothing_of_the_engine(engine, loaded):
    """A label that means something on an engine's own object is only a word on a container."""
    labels = {"com.docker.volume.anonymous": "", "pier.restart": "always", "containerd.io/restart.status": "running",
              "containerd.io/restart.loguri": "binary:///bin/touch?/tmp/pwned-by-label"}
    loaded([File("data/x", data=b"x")], {"Labels": labels})
    engine.ok("run", "-d", "--name", "trapped", "-v", "kept:/data", "trap:1", "true")
    wait_until(lambda: engine.inspect("trapped")["State"]["Status"] == "exited")
    assert engine.inspect("trapped")["RestartCount"] == 0
    engine.ok("rm", "-v", "trapped")
    assert engine.ok("volume", "ls", "-q") == "kept"
    assert not json.loads(engine.ok("volume", "inspect", "kept"))[0]["Labels"]


@pytest.mark.parametrize("trap", ["pipe", "link", "loop", "huge", "directory"])
def test_31_a_users_file_that_is_a_trap_is_told_and_holds_nothing_up(engine, loaded, tmp_path, trap):
    """CVE-2026-47262, CVE-2024-9676: it is read by the engine, before the container is."""
    canary = tmp_path / "canary"
    canary.write_text("root:x:0:0::/:/bin/sh\nhost:x:0:0::/:/bin/sh\n")
    made = {
        "pipe": File("etc/passwd", tarfile.FIFOTYPE), "link": symlink("etc/passwd", f"../../../../../..{canary}"),
        "loop": symlink("etc/passwd", "passwd"), "huge": File("etc/passwd", data=b"x" * (12 << 20)),
        "directory": directory("etc/passwd"),
    }[trap]
    loaded([made], {})
    refused = engine.docker("run", "--rm", "-u", "host", "trap:1", "busybox", "id")
    assert refused.returncode == 125
    assert ("user host" if trap == "link" else "etc/passwd in the image") in refused.stderr
    assert engine.ok("run", "--rm", "busybox", "id", "-u") == "0"


GROUPS = {
    "": "0 10", "root": "0 10", "0": "0 10", "alice": "1000 10 999", "1000": "1000 10 999", "bob": "1001 999",
    "alice:wheel": "10", "alice:999": "999", "1000:1000": "1000", "4242": "0", "4242:4343": "4343",
}


def test_32_a_process_has_the_groups_that_its_user_is_in(engine, loaded):
    """CVE-2023-25173: as Docker's rules are, in a container's first process and in those that come later."""
    users = "root:x:0:0::/:/bin/sh\nalice:x:1000:1000::/:/bin/sh\nbob:x:1001:1001::/:/bin/sh\n"
    members = "root:x:0:\nbin:x:2:\nwheel:x:10:root,alice\nalice:x:1000:\nbob:x:1001:\ndocker:x:999:alice,bob\n"
    loaded([File("etc/passwd", data=users.encode()), File("etc/group", data=members.encode())], {})
    container = engine.ok("run", "-d", "trap:1", "sleep", "1000")
    for user, expected in GROUPS.items():
        asked = ["-u", user] if user else []
        assert engine.ok("run", "--rm", *asked, "trap:1", "busybox", "id", "-G") == expected, user
        assert engine.ok("exec", *asked, container, "busybox", "id", "-G") == expected, user
    added = engine.ok("run", "--rm", "-u", "alice", "--group-add", "77", "--group-add", "bin", "trap:1",
                      "busybox", "id", "-G")
    assert set(added.split()) == {"1000", "10", "999", "77", "2"}
