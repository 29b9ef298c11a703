"""Images whose files a container sees (`--mount type=image`)."""

import pytest

from deploy.busybox_image import Entry as File
from deploy.busybox_image import Image, busybox_image, directory, docker_archive, layer, symlink
from tests.engine import sh

IMAGE = "files:1"


@pytest.fixture
def files(engine):
    made = layer([directory("share"), File("share/word", data=b"hello\n"), symlink("share/out", "/etc"),
                  symlink("host", "/../../../../etc")])
    archive = docker_archive({IMAGE: Image([*busybox_image().layers, made], {"Cmd": ["sh"]})})
    engine.run([*engine.argv("pier"), "load"], input=archive, text=False, check=True)
    yield IMAGE
    engine.remove_everything()
    engine.run([*engine.argv("pier"), "rmi", IMAGE])


def mount(more=""):
    return ("--mount", f"type=image,source={IMAGE},target=/img{more}")


def test_a_container_reads_the_files_of_an_image_and_writes_none(engine, files, tmp_path):
    script = sh("cat /img/share/word; ls /img/bin/busybox; touch /img/x 2>&1; touch /img/share/word 2>&1")
    id_ = engine.pier("run", "-d", "--name", "box", *mount(), *script).stdout.strip()
    assert engine.pier("wait", "box").stdout == "1\n"
    assert engine.pier("logs", "box").stdout.splitlines() == [
        "hello", "/img/bin/busybox", "touch: /img/x: Read-only file system",
        "touch: /img/share/word: Read-only file system"]
    (point,) = engine.inspect("box")["Mounts"]
    assert point | {"Type": "image", "Name": IMAGE, "Destination": "/img", "RW": False} == point
    assert engine.inspect("box")["HostConfig"]["Mounts"][0]["Source"] == IMAGE
    assert engine.pier("cp", "box:/img/share/word", str(tmp_path / "word")).returncode == 0
    assert (tmp_path / "word").read_text() == "hello\n"
    assert "/img/share" not in engine.pier("diff", id_).stdout


def test_an_image_stays_while_it_is_mounted_and_its_snapshot_goes_with_the_container(engine, files):
    assert engine.pier("create", "--name", "box", *mount(), "busybox").returncode == 0
    refused = engine.pier("rmi", IMAGE)
    assert refused.returncode == 1
    assert "is using its referenced image" in refused.stderr
    engine.kill("gateway")
    engine.up()
    assert engine.pier("start", "-a", "box").returncode == 0
    assert engine.pier("rm", "box").returncode == 0
    assert engine.pier("rmi", IMAGE).returncode == 0
    assert "nothing found" in engine.pier("system", "fsck").stdout


def test_a_part_of_an_image_is_found_within_it_whatever_links_it_has(engine, files):
    part = engine.pier("run", "--rm", *mount(",image-subpath=share"), *sh("ls /img; cat /img/word"))
    assert part.stdout.split() == ["out", "word", "hello"]
    one = engine.pier("run", "--rm", *mount(",image-subpath=share/word"), *sh("cat /img"))
    assert one.stdout == "hello\n"
    inside = engine.pier("run", "--rm", *mount(",image-subpath=host"), *sh("ls /img"))
    assert inside.stdout.split() == engine.pier("run", "--rm", *mount(), *sh("ls /img/etc")).stdout.split()
    for wrong in ("../x", "/etc"):
        refused = engine.pier("create", *mount(f",image-subpath={wrong}"), "busybox")
        assert "subpath must be a relative path within the image" in refused.stderr


def test_an_image_that_is_not_there_is_told(engine):
    missing = engine.pier("create", "--pull", "never", "--mount", "type=image,source=nosuch,target=/x", "busybox")
    assert (missing.returncode, "No such image: nosuch:latest" in missing.stderr) == (1, True)
    nameless = engine.pier("create", "--mount", "type=image,target=/x", "busybox")
    assert "field Source must not be empty" in nameless.stderr
    assert engine.ok("ps", "-aq") == ""
