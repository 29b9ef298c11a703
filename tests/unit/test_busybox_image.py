"""The image that `make run` makes and that most tests run."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from deploy import busybox_image
from deploy.busybox_image import Entry, Image, digest, directory, docker_archive, layer, oci_layout
from tests import images

MAKER = Path(busybox_image.__file__)


def members(tar: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        return {info.name: info for info in archive}


def test_the_same_busybox_gives_the_same_bytes(tmp_path: Path) -> None:
    made = []
    for number in range(2):
        output = tmp_path / f"{number}.tar"
        subprocess.run(["/usr/bin/python3", "-I", MAKER, "--name", "pier/hello", output], check=True)
        made.append(output.read_bytes())
    assert made[0] == made[1]
    assert made[0] == docker_archive({"pier/hello:latest": images.busybox()})


def test_every_parent_comes_before_its_child() -> None:
    seen = {"."}
    for entry in busybox_image.rootfs_entries():
        assert str(Path(entry.path).parent) in seen, entry.path
        seen.add(entry.path)


def test_every_command_is_a_link_that_ends_at_busybox() -> None:
    files = members(images.busybox().layers[0])
    links = [info for info in files.values() if info.issym()]
    assert {"bin/sh", "bin/cat", "usr/bin/head", "sbin/ip"} <= {info.name for info in links}
    for info in links:
        target = (Path("/") / info.name).parent / info.linkname
        assert str(target.resolve()) in ("/bin/busybox", "/usr/bin/busybox")  # this machine's /bin may be a link itself


def test_modes_and_owners_are_those_of_a_root_file_system() -> None:
    files = members(images.busybox().layers[0])
    assert files["tmp"].mode == files["var/tmp"].mode == 0o1777
    assert files["root"].mode == 0o700
    assert files["bin/busybox"].mode == 0o755
    assert {(info.uid, info.gid, info.mtime) for info in files.values()} == {(0, 0, busybox_image.TIME)}


def test_the_command_in_it_runs(tmp_path: Path) -> None:
    program = tmp_path / "busybox"
    program.write_bytes(images.read_layer(images.busybox().layers[0])["bin/busybox"])
    program.chmod(0o755)
    assert subprocess.run([program, "echo", "hello"], check=True, capture_output=True).stdout == b"hello\n"


def test_a_docker_archive_names_its_configuration_and_layers_by_their_digests() -> None:
    files = images.read_layer(docker_archive({"a:1": images.layered()}))
    (entry,) = json.loads(files["manifest.json"])
    assert entry["RepoTags"] == ["a:1"]
    assert digest(files[entry["Config"]]) == "sha256:" + entry["Config"].removesuffix(".json")
    config = json.loads(files[entry["Config"]])
    assert [digest(files[name]) for name in entry["Layers"]] == config["rootfs"]["diff_ids"]


@pytest.mark.parametrize("compressed", [True, False])
def test_every_descriptor_of_an_oci_layout_leads_to_its_blob(compressed: bool) -> None:
    files = oci_layout({"a:1": images.layered()}, compressed)

    def blob(descriptor: dict[str, object]) -> bytes:
        data = files["blobs/" + str(descriptor["digest"]).replace(":", "/")]
        assert (digest(data), len(data)) == (descriptor["digest"], descriptor["size"])
        return data

    (entry,) = json.loads(files["index.json"])["manifests"]
    manifest = json.loads(blob(entry))
    config = json.loads(blob(manifest["config"]))
    assert len(manifest["layers"]) == len(config["rootfs"]["diff_ids"]) == 4
    for descriptor in manifest["layers"]:
        blob(descriptor)


def test_whiteouts_have_the_names_of_the_specification() -> None:
    assert images.whiteout("a/b").path == "a/.wh.b"
    assert images.whiteout("b").path == ".wh.b"
    assert images.opaque("a").path == "a/.wh..wh..opq"


def test_an_entry_keeps_what_it_was_given() -> None:
    tar = layer([directory("d", 0o750, uid=7, gid=8), Entry("f", data=b"x", pax={"SCHILY.xattr.user.a": "b"})])
    found = members(tar)
    assert (found["d"].mode, found["d"].uid, found["d"].gid) == (0o750, 7, 8)
    assert found["f"].pax_headers["SCHILY.xattr.user.a"] == "b"


def test_a_program_with_an_interpreter_is_not_taken_for_static() -> None:
    assert busybox_image._is_static(busybox_image.busybox().read_bytes())
    assert not busybox_image._is_static(Path(sys.executable).resolve().read_bytes())
    assert not busybox_image._is_static(b"#!/bin/sh\n")


def test_the_configuration_counts_its_layers() -> None:
    config = json.loads(Image([b"", b""]).configuration)
    assert len(config["history"]) == len(config["rootfs"]["diff_ids"]) == 2
