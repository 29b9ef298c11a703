"""What nothing uses is removed, and nothing else."""

import pytest

from deploy.busybox_image import Entry as File
from deploy.busybox_image import Image, docker_archive, layer
from tests.e2e.conftest import TODAYS_TOO
from tests.engine import sh


def load(engine, name, content):
    archive = docker_archive({name: Image([layer([File("file", data=content)])])})
    engine.run([*engine.argv("pier"), "load"], input=archive, text=False, check=True)


@pytest.fixture(autouse=True)
def nothing_else_left(engine):
    yield
    engine.remove_everything()
    for noun in ("volume", "network"):
        if names := [name for name in engine.ok(noun, "ls", "-q", "--filter", "name=pr-").split() if name]:
            engine.ok(noun, "rm", *names)


def test_containers_that_do_not_run(client, engine):
    engine.ok("run", "-d", "--name", "runs", *sh("sleep 1000"))
    engine.ok("run", "--name", "ended", *sh("head -c 100000 /dev/zero > /x"))
    engine.ok("create", "--name", "kept", "--label", "keep", "busybox")
    told = client.ok("container", "prune", "-f", "--filter", "label!=keep")
    assert told.startswith("Deleted Containers:\n")
    assert "Total reclaimed space: 1" in told
    assert sorted(engine.ok("ps", "-a", "--format", "{{.Names}}").split()) == ["kept", "runs"]
    assert "Total reclaimed space: 0B" in client.ok("container", "prune", "-f", "--filter", "until=24h")


@TODAYS_TOO
def test_volumes_that_nobody_has_mounted(client, engine):
    for name in ("pr-used", "pr-free", "pr-labelled"):
        engine.ok("volume", "create", *(["--label", "x=y"] if name == "pr-labelled" else []), name)
    engine.ok("create", "--name", "user", "-v", "pr-used:/data", "busybox")
    engine.ok("run", "--name", "other", "-v", "/anonymous", *sh("head -c 500000 /dev/zero > /anonymous/x"))
    (anonymous,) = [m["Name"] for m in engine.inspect("other")["Mounts"]]
    engine.ok("rm", "other")
    # An API before 1.42, as Debian 12's docker speaks it, prunes named ones too.
    modern = client.name == "pier" or tuple(
        map(int, client.ok("version", "--format", "{{.Client.APIVersion}}").split("."))) >= (1, 42)
    told = client.ok("volume", "prune", "-f", "--filter", "label!=x")
    assert anonymous in told
    assert ("pr-free" in told) is not modern
    assert "Total reclaimed space: 5" in told
    if modern:
        assert "pr-free" in client.ok("volume", "prune", "-a", "-f", "--filter", "label!=x")
    assert sorted(engine.ok("volume", "ls", "-q").split()) == ["pr-labelled", "pr-used"]


def test_networks_that_nobody_is_joined_to(client, engine):
    engine.ok("network", "create", "pr-free")
    engine.ok("network", "create", "pr-used")
    engine.ok("run", "-d", "--network", "pr-used", *sh("sleep 1000"))
    assert client.ok("network", "prune", "-f").split() == ["Deleted", "Networks:", "pr-free"]
    assert set(engine.ok("network", "ls", "--format", "{{.Name}}").split()) == {"bridge", "host", "none", "pr-used"}


def test_images_without_a_name_or_all_that_no_container_uses(client, engine):
    load(engine, "pr-image:1", b"one")
    load(engine, "pr-image:1", b"two")
    assert len(engine.ok("images", "-q", "--filter", "dangling=true").split()) == 1
    told = client.ok("image", "prune", "-f")
    assert told.startswith("Deleted Images:\ndeleted: sha256:")
    assert engine.ok("images", "-q", "--filter", "dangling=true") == ""
    engine.ok("create", "busybox")
    told = client.ok("image", "prune", "-a", "-f")
    assert "untagged: pr-image:1" in told
    assert engine.ok("images", "--format", "{{.Repository}}") == "busybox"


def test_nothing_is_removed_without_a_yes(client, engine):
    engine.ok("create", "--name", "stays", "busybox")
    for answer in ("n\n", "\n", ""):
        done = client.run("container", "prune", input=answer)
        assert "WARNING! This will remove all stopped containers." in done.stdout
        assert engine.ok("ps", "-aq")
    assert "Deleted Containers" in client.ok("container", "prune", input="y\n")
