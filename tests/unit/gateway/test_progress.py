"""Docker's progress objects from imaged's events."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rest import progress
from pier.image.v1 import image_pb2 as pb

DIGEST = "sha256:" + "0123456789abcdef" * 4
SHORT = "0123456789ab"


def layer(phase, current=0, total=0):
    return pb.PullResponse(layer=pb.LayerProgress(digest=DIGEST, phase=phase, current=current, total=total))


def begin(reference="docker.io/library/busybox:latest", familiar="busybox:latest"):
    return pb.PullResponse(begin=pb.PullBegin(reference=reference, familiar=familiar))


def shown(*events):
    told = progress.PullProgress()
    return [message for event in events for message in told.of(event)]


@pytest.mark.parametrize(
    "reference,status,tag",
    [
        ("docker.io/library/busybox:latest", "Pulling from library/busybox", "latest"),
        ("127.0.0.1:5000/a/b:v1.2", "Pulling from a/b", "v1.2"),
        (f"127.0.0.1:5000/a@{DIGEST}", "Pulling from a", DIGEST),
        (f"127.0.0.1:5000/a:v1@{DIGEST}", "Pulling from a", DIGEST),
    ],
)
def test_a_pull_begins_with_the_repository_and_the_tag(reference, status, tag):
    assert shown(begin(reference)) == [{"status": status, "id": tag}]


def test_a_layer_that_comes_is_told_from_its_first_word_to_its_last():
    events = [
        layer(pb.LAYER_PHASE_WAITING), layer(pb.LAYER_PHASE_DOWNLOADING, 1_500, 3_000),
        layer(pb.LAYER_PHASE_DOWNLOADED), layer(pb.LAYER_PHASE_EXTRACTING, 3_000, 3_000), layer(pb.LAYER_PHASE_DONE),
    ]
    messages = shown(*events)
    assert [message["status"] for message in messages] == [
        "Pulling fs layer", "Downloading", "Verifying Checksum", "Download complete", "Extracting", "Pull complete",
    ]
    assert {message["id"] for message in messages} == {SHORT}
    assert messages[1]["progressDetail"] == {"current": 1_500, "total": 3_000}
    assert messages[1]["progress"] == f"[{'=' * 25}>{' ' * 25}]    1.5kB/3kB"
    assert messages[0]["progressDetail"] == {}


def test_a_layer_that_is_here_is_told_once():
    assert shown(layer(pb.LAYER_PHASE_EXISTS)) == [{"status": "Already exists", "progressDetail": {}, "id": SHORT}]


@pytest.mark.parametrize("up_to_date,words", [(True, "Image is up to date"), (False, "Downloaded newer image")])
def test_a_pull_ends_with_the_digest_and_what_became_of_it(up_to_date, words):
    end = pb.PullResponse(end=pb.PullEnd(digest=DIGEST, up_to_date=up_to_date))
    assert [message["status"] for message in shown(begin(), end)[1:]] == [
        f"Digest: {DIGEST}", f"Status: {words} for busybox:latest",
    ]


def test_a_failure_is_told_in_both_of_dockers_ways():
    assert json.loads(progress.line(progress.failure("no"))) == {"errorDetail": {"message": "no"}, "error": "no"}


@pytest.mark.parametrize(
    "size,text", [(0, "0B"), (999, "999B"), (1000, "1kB"), (1_234_567, "1.235MB"), (10**9, "1GB"), (999_999, "1000kB")]
)
def test_sizes_have_four_significant_digits_in_units_of_a_thousand(size, text):
    assert progress.human_size(size) == text


@given(st.integers(0, 1 << 63), st.integers(0, 1 << 63))
def test_a_bar_has_fifty_places_or_none(current, total):
    text = progress.bar(current, total)
    if total and current <= total:
        inside = text[1 : text.index("]")]
        assert len(inside) == 51
        assert inside.count(">") == 1
    else:
        assert "[" not in text


@given(st.text())
def test_a_message_is_one_line(text):
    line = progress.line({"status": text})
    assert line.endswith(b"\r\n")
    assert b"\n" not in line[:-1]
    assert json.loads(line) == {"status": text}
