"""What Pier writes and pushes another tool reads, and the reverse: file trees are the same, entry by entry."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from pier.image.v1 import image_pb2 as pb
from pier.image.v1 import image_pb2_grpc as rpc
from tests.registry import Registry
from tests.service.imaged.peers import Peer, skopeo
from tests.service.imaged.served import NAMESPACE, Served, inside
from tests.service.imaged.test_push import push

TREE = """
    umask 022; mkdir -p d/sub d/sticky; echo one > d/one; ln d/one d/two; chown 5:6 d/one; chmod 4751 d/one
    ln -s ../../../etc/passwd d/link; mkfifo d/pipe; mknod d/null c 1 3; chmod 1777 d/sticky
    truncate -s 3M d/sparse; head -c 200000 /dev/urandom > d/big; chown 4294967290:1000000 d/big
    python3 -c 'import os; os.setxattr("d/one", "user.mine", b"\\0\\1")
os.setxattr("d/big", "security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))
open(b"d/\\xc3\\xa4" + b"n" * 200, "w").close()'
    touch -h -d @1.000000007 d/link; touch -d @12345.678901234 d/one; touch -d @77.25 d/sub; touch -d @99 d
"""
SHOWS = """
    find . -mindepth 1 -printf '%p %y %m %U:%G %T@ %l\\n' | sort
    find . ! -type d -printf '%p %n %s\\n' | sort
    find . -type f | sort | xargs sha256sum
    python3 -c 'import os
for top, _, files in os.walk("."):
    for name in sorted(files):
        path = os.path.join(top, name)
        print(name[:5], [(key, os.getxattr(path, key, follow_symlinks=False)) for key in
                         sorted(os.listxattr(path, follow_symlinks=False)) if not key.startswith("trusted.")])'
"""
CONFIG = {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["x"], "Env": ["A=b"]}}


async def made(served: Served, name: str) -> tuple[pb.Image, str]:
    """An image of two layers with all kinds of things in them, and what it shows."""
    inside(await served.prepare("one"), TREE)
    await served.commit("one", "lower")
    change = "rm d/two; echo new > d/sub/new; rm -r d/sticky; mkdir d/sticky"
    inside(await served.prepare("two", snapshot="lower"), change)
    await served.commit("two", "upper")
    image = (await served.call(rpc.ImageServiceStub, "CreateImage", pb.CreateImageRequest(
        namespace=NAMESPACE, references=[name], snapshot="upper", config=json.dumps(CONFIG).encode()))).image
    return image, await shows(served, name)


async def shows(served: Served, name: str) -> str:
    text = inside(await served.view("shown", name), SHOWS)
    await served.remove_snapshot("shown")
    return text


async def saved(served: Served, name: str, path: Path) -> Path:
    stub = rpc.ImageServiceStub(served.peer.channel)
    request = pb.SaveRequest(namespace=NAMESPACE, images=[name])
    path.write_bytes(b"".join([piece.data async for piece in served.peer.stream(stub.Save, request, 30)]))
    return path


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
async def test_what_is_saved_is_read_by_skopeo_and_what_that_writes_is_loaded(
    snapshots: Served, tmp_path: Path, kind: str
) -> None:
    image, expected = await made(snapshots, "peer:1")
    file = await saved(snapshots, "peer:1", tmp_path / "saved.tar")
    await snapshots.clear()
    skopeo("copy", f"{kind}:{file}", f"oci:{tmp_path}/layout:peer")
    told = json.loads(skopeo("inspect", "--config", f"oci:{tmp_path}/layout:peer"))
    assert told["rootfs"]["diff_ids"] == [layer.diff_id for layer in image.layers]
    assert told["config"] == CONFIG["config"]
    for index, back in enumerate(("docker-archive:{0}:back:1", "oci-archive:{0}:docker.io/library/back:1")):
        archive = tmp_path / f"back{index}.tar"
        skopeo("copy", f"oci:{tmp_path}/layout:peer", back.format(archive))
        (loaded,) = await snapshots.load(archive.read_bytes())
        assert [layer.diff_id for layer in loaded.layers] == [layer.diff_id for layer in image.layers]
        assert await shows(snapshots, loaded.id) == expected, back
        await snapshots.clear()


@pytest.mark.parametrize("form", ["oci", "v2s2"])
async def test_what_is_pushed_is_pulled_by_skopeo_and_what_that_pushes_is_pulled(
    snapshots: Served, registry: Registry, tmp_path: Path, form: str
) -> None:
    name = f"{registry.host}/peers/{form}:1"
    image, expected = await made(snapshots, name)
    *_, last = await push(snapshots, name)
    told = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{name}"))
    assert told["Digest"] == last.manifest.digest
    skopeo("copy", "--src-tls-verify=false", f"docker://{name}", f"dir:{tmp_path}/there")
    back = f"{registry.host}/peers/back-{form}:1"
    skopeo("copy", "--format", form, "--dest-tls-verify=false", f"dir:{tmp_path}/there", f"docker://{back}")
    await snapshots.clear()
    pulled = await snapshots.pulled(back)
    assert [layer.diff_id for layer in pulled.layers] == [layer.diff_id for layer in image.layers]
    assert await shows(snapshots, back) == expected


async def test_a_hole_goes_through_skopeo_and_back_as_a_hole(snapshots: Served, tmp_path: Path) -> None:
    (tmp_path / "hole").touch()
    os.truncate(tmp_path / "hole", 1 << 30)
    raw = subprocess.run(  # noqa: ASYNC221 - a short helper
        ["tar", "-S", "--format=posix", "-c", "-C", str(tmp_path), "hole"], check=True, capture_output=True).stdout
    await snapshots.import_(raw, reference="hole:1")
    file = await saved(snapshots, "hole:1", tmp_path / "saved.tar")
    await snapshots.clear()
    skopeo("copy", f"docker-archive:{file}", f"oci-archive:{tmp_path}/back.tar:docker.io/library/hole:1")
    await snapshots.load((tmp_path / "back.tar").read_bytes())
    assert inside(await snapshots.view("shown", "hole:1"), "stat -c '%s %b' hole") == f"{1 << 30} 0\n"


READS = {
    "podman docker-archive": "podman load -q -i {file} >/dev/null; tree=$(podman image mount localhost/peer:1)",
    "podman oci-archive":
        "podman pull -q oci-archive:{file} >/dev/null; tree=$(podman image mount $({first}))",
    "podman registry": "podman pull -q --tls-verify=false {name} >/dev/null; tree=$(podman image mount {name})",
    "buildah docker-archive":
        "buildah from -q --name c docker-archive:{file} >/dev/null; tree=$(buildah mount c)",
    "buildah oci-archive": "buildah from -q --name c oci-archive:{file} >/dev/null; tree=$(buildah mount c)",
    "buildah registry":
        "buildah from -q --name c --tls-verify=false docker://{name} >/dev/null; tree=$(buildah mount c)",
}
WRITES = {
    "podman docker-archive": "podman save -q --format docker-archive -o {back} $({first})",
    "podman oci-archive": "podman save -q --format oci-archive -o {back} $({first})",
    "podman registry": "podman push -q --tls-verify=false {name} docker://{pushed}",
    "buildah docker-archive": "buildah push -q $({first}) docker-archive:{back}",
    "buildah oci-archive": "buildah push -q $({first}) oci-archive:{back}",
    "buildah registry": "buildah push -q --tls-verify=false {name} docker://{pushed}",
}


@pytest.mark.parametrize("way", READS)
async def test_podman_and_buildah_show_the_same_files_and_so_does_what_they_write(
    snapshots: Served, registry: Registry, tmp_path: Path, way: str
) -> None:
    tool, _, form = way.partition(" ")
    names = {"first": f"{tool} images -q --no-trunc | head -n1", "name": f"{registry.host}/{tool}/{form}:1",
             "pushed": f"{registry.host}/{tool}/back:1", "file": str(tmp_path / "saved.tar"),
             "back": str(tmp_path / "back.tar")}
    image, expected = await made(snapshots, names["name"])
    if "registry" in way:
        await push(snapshots, names["name"])
    else:
        await snapshots.tag(image.id, "localhost/peer:1")
        await saved(snapshots, "localhost/peer:1", tmp_path / "saved.tar")
    await snapshots.clear()
    told = Peer(tmp_path / "home").run(
        "\n".join((READS[way].format(**names), f"(cd $tree; {SHOWS})", WRITES[way].format(**names))))
    assert told == expected
    back = (await snapshots.pulled(names["pushed"]) if "registry" in way
            else (await snapshots.load((tmp_path / "back.tar").read_bytes()))[0])
    assert [layer.diff_id for layer in back.layers] == [layer.diff_id for layer in image.layers]
    assert await shows(snapshots, back.id) == expected


@pytest.mark.parametrize("form", ["oci", "docker"])
async def test_what_buildah_makes_is_shown_as_buildah_and_podman_show_it(
    snapshots: Served, registry: Registry, tmp_path: Path, form: str
) -> None:
    name = f"{registry.host}/made/{form}:1"
    change = "rm d/two; echo new > d/sub/new; rm -r d/sticky; mkdir d/sticky; ln -s one d/sym; chmod 700 d/big"
    told = Peer(tmp_path / "home").run(f"""
        buildah from -q --name one scratch >/dev/null
        (cd $(buildah mount one); {TREE})
        buildah config --cmd x --env A=b one
        buildah commit -q --format {form} one {name}-lower >/dev/null
        buildah from -q --name two {name}-lower >/dev/null
        (cd $(buildah mount two); {change})
        buildah commit -q --format {form} two {name} >/dev/null
        buildah push -q --tls-verify=false {name} docker://{name}
        podman save -q -o {tmp_path}/made.tar --format {form}-archive {name}
        (cd $(podman image mount {name}); {SHOWS})""")
    for image in (await snapshots.pulled(name), *await snapshots.load((tmp_path / "made.tar").read_bytes())):
        view = await snapshots.view("shown", image.id)
        assert inside(view, SHOWS) == told
        await snapshots.remove_snapshot("shown")
        assert json.loads(image.config)["config"]["Cmd"] == ["x"]
