"""imaged.manifest and imaged.platform: documents are read strictly; the best platform is chosen."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import InvalidArgument, NotFound, PierError, Unimplemented
from chassis.ids import digest
from imaged import manifest, platform

D = "sha256:" + "1" * 64
CONFIG = {"mediaType": manifest.OCI_CONFIG, "digest": D, "size": 2}
LAYER = {"mediaType": manifest.OCI_LAYER + "+gzip", "digest": D, "size": 10}
MANIFEST: dict[str, Any] = {"schemaVersion": 2, "config": CONFIG, "layers": [LAYER]}
INDEX: dict[str, Any] = {"schemaVersion": 2, "manifests": [
    {"mediaType": manifest.OCI_MANIFEST, "digest": D, "size": 3, "platform": {"os": "linux", "architecture": "amd64"}}
]}


def raw(document: object) -> bytes:
    return json.dumps(document).encode()


def test_a_manifest_of_either_family_is_read() -> None:
    for media_type in manifest.MANIFESTS:
        read = manifest.parse(raw(MANIFEST | {"mediaType": media_type}), media_type)
        assert isinstance(read, manifest.Manifest)
        assert [layer.size for layer in read.layers] == [10]
    assert isinstance(manifest.parse(raw(MANIFEST), manifest.OCI_MANIFEST), manifest.Manifest)
    assert isinstance(manifest.parse(raw(MANIFEST)), manifest.Manifest)


def test_an_index_of_either_family_is_read() -> None:
    for media_type in manifest.INDEXES:
        read = manifest.parse(raw(INDEX | {"mediaType": media_type}), media_type + "; charset=utf-8")
        assert isinstance(read, manifest.Index)


BAD: dict[str, tuple[object, str]] = {
    "both a manifest and an index": (MANIFEST | INDEX, ""),
    "layers in an index": (INDEX | {"layers": []}, ""),
    "an empty config in an index": (INDEX | {"config": None}, ""),
    "manifests null in a manifest": (MANIFEST | {"manifests": None}, ""),
    "fsLayers in a manifest": (MANIFEST | {"fsLayers": []}, ""),
    "neither": ({"schemaVersion": 2}, ""),
    "no schema version": ({"config": CONFIG, "layers": []}, ""),
    "an index's media type on a manifest": (MANIFEST | {"mediaType": manifest.OCI_INDEX}, ""),
    "a manifest served as an index": (MANIFEST, manifest.OCI_INDEX),
    "served as another type than its own": (MANIFEST | {"mediaType": manifest.OCI_MANIFEST}, manifest.DOCKER_MANIFEST),
    "a digest that is a path": (MANIFEST | {"config": CONFIG | {"digest": "sha256:../../x"}}, ""),
    "a layer's digest that is a path": (MANIFEST | {"layers": [LAYER | {"digest": "../../../etc/passwd"}]}, ""),
    "a negative size": (MANIFEST | {"layers": [LAYER | {"size": -1}]}, ""),
    "a config larger than any": (MANIFEST | {"config": CONFIG | {"size": 1 << 30}}, ""),
    "a thousand layers": (MANIFEST | {"layers": [LAYER] * 1000}, ""),
    "a list": ([], ""),
}


@pytest.mark.parametrize("document, media_type", BAD.values(), ids=BAD.keys())
def test_33_36_an_ambiguous_or_malformed_document_is_refused(document: object, media_type: str) -> None:
    with pytest.raises(InvalidArgument):
        manifest.parse(raw(document), media_type)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b'{"a":' * 100_000, b"null"])
def test_what_is_no_json_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidArgument):
        manifest.parse(content)


def test_34_a_manifest_that_is_too_long_is_refused_unread() -> None:
    with pytest.raises(InvalidArgument, match="more than"):
        manifest.parse(b" " * (manifest.MANIFEST_MAX + 1))


@pytest.mark.parametrize("document, media_type", [
    ({"schemaVersion": 1, "fsLayers": [], "history": []}, ""),
    (MANIFEST, "application/vnd.docker.distribution.manifest.v1+prettyjws"),
    (MANIFEST | {"config": CONFIG | {"mediaType": "application/vnd.oci.empty.v1+json"}}, ""),
    (MANIFEST | {"layers": [LAYER | {"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"}]}, ""),
    (MANIFEST | {"layers": [LAYER | {"urls": ["http://elsewhere/x"]}]}, ""),
])
def test_what_is_known_and_not_supported_says_so(document: object, media_type: str) -> None:
    with pytest.raises(Unimplemented):
        manifest.parse(raw(document), media_type)


def test_a_config_has_as_many_diff_ids_as_layers() -> None:
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [D]}}
    assert manifest.parse_config(raw(config), 1).diff_ids == [D]
    with pytest.raises(InvalidArgument, match="1 diff ids for 2 layers"):
        manifest.parse_config(raw(config), 2)
    with pytest.raises(InvalidArgument):
        manifest.parse_config(raw(config | {"rootfs": {"type": "layers", "diff_ids": ["sha256:../x"]}}), 1)


def test_a_config_of_docker_is_read() -> None:
    config = manifest.parse_config(raw({
        "architecture": "arm64", "os": "linux", "variant": "v8", "created": "2024-01-01T00:00:00Z",
        "config": {"Env": ["A=b"], "Cmd": ["sh"], "Entrypoint": None, "WorkingDir": "/w", "User": "1:2",
                   "ExposedPorts": {"80/tcp": {}}, "Labels": {"a": "b"}, "StopSignal": "SIGTERM", "Unknown": [1],
                   "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1000000000}},
        "rootfs": {"type": "layers", "diff_ids": []},
        "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "x", "empty_layer": True}],
    }))
    assert config.platform == platform.Platform("linux", "arm64")
    assert config.config is not None
    assert config.config.cmd == ["sh"]
    assert config.config.healthcheck is not None


def test_chain_ids_are_the_specifications() -> None:
    a, b = digest("sha256:" + "a" * 64), digest("sha256:" + "b" * 64)
    first, second = manifest.chain_ids([a, b])
    assert first == a
    assert second == "sha256:ccd722928bd92476ba1745586fed6e45a102504185ad88cd89e01ff116fd146c"
    assert manifest.chain_ids([b, a])[1] != second


def _index(*platforms: str) -> manifest.Index:
    found = []
    for number, text in enumerate(platforms):
        os_name, architecture, variant = [*text.split("/"), ""][:3]
        found.append(manifest.Descriptor(
            manifest.OCI_MANIFEST, "sha256:" + f"{number:064x}", 1,
            platform=manifest.PlatformField(architecture, os_name, variant),
        ))
    return manifest.Index(found)


@pytest.mark.parametrize("wanted, offered, chosen", [
    ("linux/amd64", ["linux/arm64", "linux/amd64"], 1),
    ("linux/amd64", ["linux/amd64/v3", "linux/amd64"], 1),
    ("linux/amd64/v3", ["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"], 1),
    ("linux/arm/v7", ["linux/arm/v5", "linux/arm/v6", "linux/arm64"], 1),
    ("linux/arm/v6", ["linux/arm/v7", "linux/arm/v5"], 1),
    ("linux/arm64", ["linux/arm/v7", "linux/arm64/v8"], 1),
    ("linux/amd64", ["unknown/unknown", "windows/amd64", "linux/x86_64"], 2),
    ("linux/amd64", ["linux/amd64", "linux/amd64"], 0),
])
def test_the_best_platform_is_chosen(wanted: str, offered: list[str], chosen: int) -> None:
    os_name, architecture, variant = [*wanted.split("/"), ""][:3]
    found = manifest.select(_index(*offered), platform.normal(os_name, architecture, variant))
    assert int(found.digest.removeprefix("sha256:"), 16) == chosen


def test_a_platform_that_is_not_there_is_not_found() -> None:
    with pytest.raises(NotFound, match="no matching manifest for linux/amd64"):
        manifest.select(_index("linux/arm64", "linux/amd64/v2"), platform.normal("linux", "amd64"))


@given(st.recursive(
    st.none() | st.integers() | st.text(max_size=5) | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["schemaVersion", "mediaType", "config", "layers", "manifests", "digest", "size"]), inner),
    max_leaves=12,
))
def test_any_json_is_read_or_refused(document: object) -> None:
    with contextlib.suppress(PierError):
        manifest.parse(raw(document))
