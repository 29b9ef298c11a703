"""The registry that tests pull from holds what they pushed, in every form."""

from __future__ import annotations

import http.client
import json

import pytest

from deploy.busybox_image import digest
from tests import images
from tests.images import Packed
from tests.registry import Registry

FORMS = {
    "oci-gzip": images.pack(images.layered()),
    "oci-plain": images.pack(images.layered(), compressed=False),
    "schema2": images.pack(images.layered(), schema2=True),
    "oci-index": images.pack_index([images.busybox(), images.layered()]),
    "schema2-list": images.pack_index([images.busybox(), images.layered()], schema2=True),
}


def get(registry: Registry, path: str, accept: str = "*/*") -> tuple[str, bytes]:
    connection = http.client.HTTPConnection(registry.host, timeout=10)
    try:
        connection.request("GET", path, headers={"Accept": accept, "Connection": "close"})
        response = connection.getresponse()
        assert response.status == 200
        return response.headers["Content-Type"], response.read()
    finally:
        connection.close()


@pytest.mark.parametrize("form", FORMS)
def test_what_was_pushed_comes_back(registry: Registry, form: str) -> None:
    packed: Packed = FORMS[form]
    assert registry.push("some/where", form, packed) == digest(packed.top.data)
    media_type, top = get(registry, f"/v2/some/where/manifests/{form}", accept=packed.top.media_type)
    assert (media_type, top) == (packed.top.media_type, packed.top.data)
    manifests = packed.manifests or (packed.top,)
    for manifest in manifests:
        for descriptor in (json.loads(manifest.data)["config"], *json.loads(manifest.data)["layers"]):
            _, blob = get(registry, f"/v2/some/where/blobs/{descriptor['digest']}")
            assert digest(blob) == descriptor["digest"]


def test_its_requests_and_files_can_be_looked_at(registry: Registry) -> None:
    packed = FORMS["oci-gzip"]
    registry.push("look", "1", packed)
    blob = packed.blobs[0]
    assert registry.blob_path(digest(blob.data)).read_bytes() == blob.data
    assert registry.requests()[-1] == "PUT /v2/look/manifests/1"
