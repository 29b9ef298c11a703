"""Images as Docker's list, inspect and history show them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import InvalidArgument
from gateway.rest import image_config, image_filters, image_json
from gateway.rest.filters import Filters
from gateway.rest.versions import Version
from pier.image.v1 import image_pb2 as pb

NEW, OLD = Version(1, 52), Version(1, 41)
DIGEST = "sha256:" + "d" * 64


def image(config=None, name="busybox:latest", created=1_600_000_000, layers=((1, 100), (2, 20)), labels=None):
    made = pb.Image(
        id="sha256:" + "1" * 64, familiar=[name] if name else [], size=sum(size for _, size in layers),
        digests=[f"docker.io/library/busybox@{DIGEST}"] if name else [], config=json.dumps(config or {}).encode(),
        platform=pb.Platform(os="linux", architecture="arm64", variant="v8"), labels=labels or {},
        layers=[pb.Layer(diff_id=f"sha256:{name}", chain_id=f"sha256:{name}", size=size) for name, size in layers],
    )
    if created:
        made.created_at.FromSeconds(created)
    return made


def listed(images, **values):
    filters = Filters({key.replace("not_label", "label!"): tuple(value) for key, value in values.items()})
    return [one.image.familiar[:1] for one in image_filters.select(images, filters, [], [])]


def test_a_summary_has_numbers_where_docker_has_numbers():
    made = image_json.summary(image(), ["busybox:latest"], [f"busybox@{DIGEST}"], NEW)
    assert made["Created"] == 1_600_000_000
    assert made["RepoTags"] == ["busybox:latest"]
    assert made["RepoDigests"] == [f"busybox@{DIGEST}"]
    assert (made["SharedSize"], made["Containers"], made["ParentId"]) == (-1, -1, "")
    assert "VirtualSize" not in made


def test_an_untagged_image_has_empty_lists_and_nones_for_old_clients():
    assert image_json.summary(image(name=""), [], [], NEW)["RepoTags"] == []
    old = image_json.summary(image(name=""), [], [], OLD)
    assert (old["RepoTags"], old["RepoDigests"]) == (["<none>:<none>"], ["<none>@<none>"])
    assert old["VirtualSize"] == 120


def test_an_inspect_shows_the_config_and_the_layers():
    config = {
        "author": "me", "config": {
            "Env": ["A=b"], "Cmd": ["sh"], "ExposedPorts": {"80/tcp": {}}, "Labels": {"k": "v"},
            "Healthcheck": {"Test": ["CMD", "true"], "Interval": 5}, "Shell": ["/bin/sh"], "Unknown": 1,
        },
        "history": [{"comment": "first"}, {"comment": "last"}],
    }
    made = image_json.inspected(image(config), NEW)
    assert made["Config"] == {
        "Env": ["A=b"], "Cmd": ["sh"], "ExposedPorts": {"80/tcp": {}}, "Labels": {"k": "v"},
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 5}, "Shell": ["/bin/sh"],
    }
    assert made["RootFS"] == {"Type": "layers", "Layers": ["sha256:1", "sha256:2"]}
    assert (made["Author"], made["Comment"], made["Variant"]) == ("me", "last", "v8")
    assert made["Created"] == "2020-09-13T12:26:40Z"


def test_an_inspect_for_old_clients_has_a_containers_empty_keys():
    made = image_json.inspected(image({"config": {"Cmd": ["sh"]}}), OLD)
    assert made["Config"]["Cmd"] == ["sh"]
    assert made["Config"]["Entrypoint"] is None
    assert made["Config"]["Tty"] is False
    assert made["VirtualSize"] == 120


OWN = {"Cmd", "Entrypoint", "Env", "Labels", "OnBuild", "User", "Volumes", "WorkingDir"}
A_CONTAINERS = {"Hostname", "Domainname", "AttachStdin", "AttachStdout", "AttachStderr", "Tty", "OpenStdin",
                "StdinOnce", "Image"}


@pytest.mark.parametrize("version,keys", [
    ((1, 49), OWN | A_CONTAINERS), ((1, 50), OWN), ((1, 51), OWN), ((1, 52), {"Cmd"}),
])
def test_each_version_of_the_api_leaves_other_empty_keys_out(version, keys):
    made = image_json.inspected(image({"config": {"Cmd": ["sh"], "Labels": {}}}), Version(*version))
    assert set(made["Config"]) == keys
    assert {"Parent", "Comment", "DockerVersion", "Author"} & set(made) == (
        set() if version >= (1, 52) else {"Parent", "Comment", "DockerVersion", "Author"})


def test_where_an_image_was_pulled_from_is_its_identity_since_1_53():
    one = image()
    one.digests.append(f"registry:5000/mine@{DIGEST}")
    one.digests.append(f"registry:5000/mine@{DIGEST[:-1]}0")
    assert "Identity" not in image_json.inspected(one, Version(1, 52))
    assert image_json.inspected(one, Version(1, 53))["Identity"] == {
        "Pull": [{"Repository": "docker.io/library/busybox"}, {"Repository": "registry:5000/mine"}]}
    assert "Identity" not in image_json.inspected(image(name=""), Version(1, 53))


def test_a_history_gives_each_step_the_layer_that_it_made():
    config = {"history": [
        {"created": "2020-01-01T00:00:00.123456789Z", "created_by": "ADD"}, {"created_by": "ENV", "empty_layer": True},
        {"created_by": "RUN"},
    ]}
    made = image_json.history(image(config))
    assert [(step["CreatedBy"], step["Size"]) for step in made] == [("RUN", 20), ("ENV", 0), ("ADD", 100)]
    assert [step["Id"][:9] for step in made] == ["sha256:11", "<missing>", "<missing>"]
    assert (made[0]["Tags"], made[1]["Tags"]) == (["busybox:latest"], None)
    assert made[2]["Created"] == 1_577_836_800


def test_layers_without_a_history_are_steps_without_words():
    assert [step["Size"] for step in image_json.history(image({}))] == [20, 100]


@pytest.mark.parametrize("config", [b"", b"[]", b'{"config": 7}', b'{"config": {"Env": "A=b"}}', b"\xff"])
def test_a_config_that_is_none_is_refused(config):
    with pytest.raises(InvalidArgument, match="image config"):
        image_config.parse(config)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_config_or_refused(data):
    try:
        image_config.shown(image_config.parse(data).config, OLD)
    except InvalidArgument:
        return


@given(st.text(max_size=40))
def test_a_steps_time_is_a_number_whatever_the_image_says(text):
    assert isinstance(image_config.Entry(image_config.Step(created=text), 0).created, int)


def test_shared_layers_are_counted_once():
    one, other = image(layers=((1, 100), (2, 20))), image(name="b:1", layers=((1, 100), (3, 7)))
    other.id = "sha256:" + "2" * 64
    assert image_json.shared_sizes([one, other]) == {one.id: 100, other.id: 100}
    assert image_json.layers_size([one, other]) == 127


def test_labels_must_all_match_and_references_one():
    labelled = image(name="a:1", labels={"k": "v", "x": ""})
    plain = image(name="b:1")
    everything = [labelled, plain]
    assert listed(everything, label=["k"]) == [["a:1"]]
    assert listed(everything, label=["k=v", "x"]) == [["a:1"]]
    assert listed(everything, label=["k=w"]) == []
    assert listed(everything, not_label=["k"]) == [["b:1"]]
    assert listed(everything, reference=["a", "b:2"]) == [["a:1"]]


def test_dangling_images_have_no_tag():
    tagged, untagged = image(name="a:1"), image(name="")
    assert listed([tagged, untagged], dangling=["true"]) == [[]]
    assert listed([tagged, untagged], dangling=["false"]) == [["a:1"]]


def test_before_and_since_leave_the_named_image_out():
    old, middle, new = (image(name=f"{name}:1", created=when) for name, when in (("a", 10), ("b", 20), ("c", 30)))
    shown = image_filters.select([new, middle, old], Filters({}), [middle], [])
    assert [one.tags for one in shown] == [["a:1"]]
    shown = image_filters.select([new, middle, old], Filters({}), [], [middle])
    assert [one.tags for one in shown] == [["c:1"]]


@pytest.mark.parametrize(
    "text,when",
    [("100", 100), ("100.5", 100), ("1h30m", 1000 - 5400), ("10s", 990), ("2020-01-01", 1_577_836_800),
     ("2020-01-01T01:00:00+01:00", 1_577_836_800)],
)
def test_until_is_a_time_or_a_duration(text, when):
    assert image_filters.moment(text, now=1000) == when


@pytest.mark.parametrize("text", ["", "x", "1x", "h", "2020-99-01", "1h "])
def test_another_word_for_until_is_refused(text):
    with pytest.raises(InvalidArgument, match="invalid filter"):
        image_filters.moment(text)
