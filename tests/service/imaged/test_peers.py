"""What Pier writes and pushes another tool reads, and the reverse: file trees are the same, entry by entry."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from pier.image.v1 import image_pb2 as pb
from pier.image.v1 import image_pb2_grpc as rpc
from tests import tools
from tests.registry import Registry
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


def skopeo(*arguments: str) -> str:
    libraries = tools.PROJECT / "build" / "debian" / "usr" / "lib" / f"{os.uname().machine}-linux-gnu"
    run = subprocess.run(
        [tools.program("skopeo"), "--insecure-policy", *arguments], check=False, capture_output=True, text=True,
        timeout=60, env={"LD_LIBRARY_PATH": str(libraries), "PATH": "/usr/bin:/bin", "TMPDIR": "/tmp", "HOME": "/root"})
    assert run.returncode == 0, run.stderr
    return run.stdout


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
