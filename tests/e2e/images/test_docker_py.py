"""docker-py, as programs use it: what the engine answers must be what this client expects."""

import io
import tarfile

import docker
import pytest

from deploy.busybox_image import docker_archive
from tests import images

LAYERED = images.layered()


@pytest.fixture
def client(engine):
    made = docker.DockerClient(base_url=engine.host, version="auto")
    yield made
    made.close()


def test_it_finds_the_engine(client):
    assert client.ping()
    assert client.version()["ApiVersion"] == "1.56"
    assert client.info()["OSType"] == "linux"
    assert client.df()["Images"]


def test_it_pulls_and_lists(client, registry):
    digest = registry.push("app", "py", images.pack(LAYERED))
    image = client.images.pull(f"{registry.host}/app", tag="py")
    assert image.tags == [f"{registry.host}/app:py"]
    assert image.attrs["RepoDigests"] == [f"{registry.host}/app@{digest}"]
    assert image in client.images.list(name=f"{registry.host}/app")
    assert image.history()[0]["Id"] == image.id
    with pytest.raises(docker.errors.NotFound):
        client.images.pull(f"{registry.host}/nosuch", tag="1")


def test_it_loads_tags_and_removes(client):
    (image,) = client.images.load(docker_archive({"app:1": LAYERED}))
    assert image.tags == ["app:1"]
    assert image.tag("other", tag="2")
    client.images.remove("other:2")
    client.images.remove("app:1")
    with pytest.raises(docker.errors.ImageNotFound):
        client.images.get("app:1")
    with pytest.raises(docker.errors.ImageLoadError):
        client.images.load(b"garbage")


def test_it_imports(client):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("file"))
    answer = client.api.import_image_from_data(made.getvalue(), repository="imp", tag="1")
    assert client.images.get("imp:1").id in answer


def test_it_makes_networks_and_volumes(client):
    network = client.networks.create("pynet", labels={"k": "v"})
    try:
        assert [found.name for found in client.networks.list(names=["pynet"], greedy=True)] == ["pynet"]
        assert network.attrs["Labels"] == {"k": "v"}
    finally:
        network.remove()
    volume = client.volumes.create("pyvol", labels={"k": "v"})
    try:
        assert [found.name for found in client.volumes.list(filters={"label": "k"})] == ["pyvol"]
    finally:
        volume.remove()
    with pytest.raises(docker.errors.NotFound):
        client.volumes.get("pyvol")
    with pytest.raises(docker.errors.NotFound):
        client.networks.get("pynet")
