"""Every operation of the schema, with input that is right and input that is not."""

from __future__ import annotations

import copy
import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from gateway.rest import versions
from tests import images
from tests.e2e.contract.bodies import BODIES
from tests.e2e.contract.rows import REFUSED, ROWS
from tests.e2e.contract.scene import Scene
from tests.e2e.contract.schema import Schema
from tests.e2e.wire import Wire

_OLDEST, _NEWEST = f"/v{versions.OLDEST}", f"/v{versions.NEWEST}"
_NOT_DECLARED = {400, 404, 409, 501}
"""What a request that is wrong gets, whether the schema has it for that operation or not: it has few of them."""
_ODD_WORDS = ["", "-1", "99999999999999999999", "{é\0"]
_ODD_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([*_ODD_WORDS, "x" * 70000]), st.text(max_size=10), st.just([]), st.just({}),
    st.lists(st.one_of(st.none(), st.integers(), st.text(max_size=4)), max_size=3),
    st.dictionaries(st.text(max_size=4), st.one_of(st.none(), st.integers(), st.text(max_size=4)), max_size=3),
)


@pytest.fixture(scope="module")
def schema():
    return Schema()


@pytest.fixture
def scene(engine, registry):
    registry.push("app", "1", images.pack(images.busybox()))
    made = Scene(Wire(engine.instance.api_socket), registry.host)
    yield made
    made.remove_everything()


def test_every_operation_of_the_schema_has_a_row(schema):
    assert set(schema.operations) - {row.operation for row in ROWS} == set()


@pytest.mark.parametrize("prefix", ["", _OLDEST, _NEWEST])
def test_every_row_is_answered_with_its_status_by_every_version(scene, prefix):
    wrong = []
    for row in ROWS:
        answer = scene.send(row, prefix)
        if answer.status != row.status or row.words.encode() not in answer.body:
            wrong.append(f"{row.line}: {answer.status} {answer.body[:300]!r}")
    assert not wrong, "\n".join(wrong)


def test_what_is_answered_fits_the_schema(scene, schema):
    wrong = []
    for row in ROWS:
        if row.operation in schema.operations and row.operation not in REFUSED and row.status not in _NOT_DECLARED:
            wrong += schema.wrong(row.operation, scene.send(row, f"/v{schema.version}"))
    wrong = [text for text in wrong if not any(place in text for place in _AS_DOCKER)]
    assert not wrong, "\n".join(wrong)


_AS_DOCKER = ("ExitCode: None", "Isolation: ''", "HostConfig.MemorySwappiness: None", "RestartPolicy.Name: 'no'")
"""Where Docker's own answers are not what its schema says."""


def test_a_query_that_is_wrong_is_told_so_and_nothing_fails(scene, schema):
    wrong = []
    for row in ROWS:
        operation = schema.operations.get(row.operation)
        if row.tier != "must" or operation is None:
            continue
        for name in operation.parameters:
            if (row.operation, name) in _ELSEWHERE:
                continue
            for word in _ODD_WORDS[1:2] if row.operation == "ImageBuild" else _ODD_WORDS:
                answer = scene.send(row, query=f"{_kept_query(row, name)}{name}={quote(word)}")
                if answer.status not in {*operation.responses, *_NOT_DECLARED} - {500}:
                    wrong.append(f"{row.line} {name}={word[:40]!a}: {answer.status} {answer.body[:200]!r}")
    assert not wrong, "\n".join(wrong)


_ELSEWHERE = {("ContainerLogs", "follow"), ("ContainerStats", "stream"), ("ContainerAttach", "stream"),
              ("SystemEvents", "until"), ("ImageCreate", "fromImage"), ("ImageBuild", "dockerfile")}
"""What makes an answer one that does not end, asks a registry in the net, or fails with Docker's own 500."""


def _kept_query(row, without):
    """The row's own query but for one key, which keeps a stream from being endless."""
    pairs = row.path.partition("?")[2].split("&")
    return "".join(f"{pair}&" for pair in pairs if pair and pair.partition("=")[0] != without and "{" not in pair)


@pytest.mark.parametrize("path", [
    "/containers/{}/json", "/containers/{}", "/containers/{}/start", "/containers/{}/archive?path=/", "/exec/{}/json",
    "/exec/{}/start", "/images/{}/json", "/images/{}/tag?repo=x", "/networks/{}", "/networks/{}/connect",
    "/volumes/{}", "/containers/{}/attach", "/containers/{}/logs?stdout=1", "/images/{}/get", "/distribution/{}/json",
])
def test_a_name_that_cannot_be_is_not_found_or_wrong(engine, path):
    wire = Wire(engine.instance.api_socket)
    for name in ("..", "%2e%2e%2f%2e%2e%2fetc", "%00", "a" * 5000, "%ff%fe", "{}", "%20", "sha256:", "x@y", "%2F"):
        for method in ("GET", "POST", "DELETE", "HEAD"):
            answer = wire.call(method, path.format(name), {} if method == "POST" else None)
            assert answer.status in (400, 404, 405, 409, 414), (method, name[:40], answer)


def _places(value, path=()):
    """Every place in a JSON value, its own first."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _places(inner, (*path, key))


@st.composite
def mutations(draw):
    """(operation, body) where one or two places of a good body hold something else."""
    operation = draw(st.sampled_from(sorted(BODIES)))
    body: Any = {"": copy.deepcopy(BODIES[operation][1])}
    for _ in range(draw(st.integers(1, 2))):
        path: tuple[Any, ...] = ("", *draw(st.sampled_from(list(_places(body[""])))))
        at = body
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = draw(_ODD_VALUES)
    return operation, body[""]


@settings(max_examples=150, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
          suppress_health_check=list(HealthCheck))
@given(mutation=mutations())
def test_a_body_that_is_wrong_is_told_so_and_nothing_fails(scene, schema, mutation):
    operation, body = mutation
    if operation == "SystemAuth":
        # Another address would be looked for in the net.
        assume(isinstance(body, dict) and body.get("serveraddress") == "127.0.0.1:1")
    path = scene.filled(BODIES[operation][0])
    answer = scene.wire.call("POST", path, json.dumps(body).encode(), Content_Type="application/json")
    assert answer.status in {*schema.operations[operation].responses, *_NOT_DECLARED} - _failures(operation), (
        path, body, answer)
    if answer.status == 201 and operation in _UNDONE:
        assert scene.wire.call("DELETE", _UNDONE[operation].format(answer.json["Id"])).status == 204


def _failures(operation):
    """Statuses that say that the engine is at fault. A registry that is down is answered with Docker's 500."""
    return set() if operation == "SystemAuth" else {500}


_UNDONE = {"ContainerCreate": "/containers/{}?v=1&force=1", "NetworkCreate": "/networks/{}"}
