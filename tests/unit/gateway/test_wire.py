"""Small things of Docker's wire: versions, bodies, booleans, times, status text, routes."""

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from multidict import MultiDict

from chassis.errors import InvalidArgument
from gateway.rest import body, container_view, versions, wire
from gateway.rest.call import Query
from gateway.rest.routes import Routes, match
from gateway.rest.tables import TABLES
from pier.exec.v1 import exec_pb2


@pytest.mark.parametrize("path,version,rest", [
    ("/info", versions.NEWEST, "/info"), ("/v1.24/info", (1, 24), "/info"), ("/v1.56/a/b", (1, 56), "/a/b"),
    ("/volumes", versions.NEWEST, "/volumes"),
])
def test_a_path_has_a_version_or_means_the_newest(path, version, rest):
    assert versions.split(path) == (version, rest)


@pytest.mark.parametrize("path,words", [
    ("/v9.99/info", "client version 9.99 is too new. Maximum supported API version is 1.56"),
    ("/v1.9/info", "client version 1.9 is too old. Minimum supported API version is 1.24"),
    ("/v1/info", "too old"), ("/v1.57/info", "too new"), ("/v999999999999999999999/x", "too new"),
])
def test_versions_compare_as_numbers(path, words):
    with pytest.raises(InvalidArgument, match=words):
        versions.split(path)


@given(st.text(alphabet="/v.0123456789abc", max_size=30))
def test_any_path_has_a_version_or_is_told_why_not(path):
    try:
        assert versions.split("/" + path)[1].startswith("/")
    except InvalidArgument as error:
        assert "client version" in error.message  # noqa: PT017


@given(st.binary(max_size=100))
def test_any_bytes_are_a_json_object_or_a_bad_request(data):
    try:
        body.decode(data)
    except InvalidArgument:
        return


@pytest.mark.parametrize("data,words", [
    (b'{"a":1}{}', "unexpected content after JSON"), (b'{"a":1} x', "unexpected content after JSON"),
    (b"[1]", "not an object"), (b"{", "invalid JSON"), (b"", "invalid JSON"),
])
def test_a_body_that_is_no_json_object_is_refused(data, words):
    with pytest.raises(InvalidArgument, match=words):
        body.decode(data)


@pytest.mark.parametrize("word,truth", [("", False), ("0", False), ("No", False), ("FALSE", False), ("none", False),
                                        ("1", True), ("true", True), ("yes", True), ("2", True)])
def test_booleans_are_dockers(word, truth):
    assert Query(MultiDict({"x": word})).boolean("x") is truth


@pytest.mark.parametrize("text,nanoseconds", [
    ("1700000000", 1700000000 * 10**9), ("1.5", 15 * 10**8), ("1.000000001", 10**9 + 1), ("", None), ("0", None),
    ("-1.5", -15 * 10**8), ("-0.5", -5 * 10**8),
])
def test_times_are_seconds_with_a_fraction(text, nanoseconds):
    assert Query(MultiDict({"since": text})).time_ns("since") == nanoseconds


@pytest.mark.parametrize("text", ["yesterday", "1.x", "1.-5", "1.5.5", "9" * 20, "1e9"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(InvalidArgument):
        Query(MultiDict({"since": text})).time_ns("since")


@pytest.mark.parametrize("seconds,nanos,fixed,text", [
    (0, 0, False, wire.ZERO_TIME), (1, 0, False, "1970-01-01T00:00:01Z"),
    (1, 500, False, "1970-01-01T00:00:01.0000005Z"),
    (1, 0, True, "1970-01-01T00:00:01.000000000Z"),
])
def test_times_look_as_gos(seconds, nanos, fixed, text):
    assert wire.rfc3339(Timestamp(seconds=seconds, nanos=nanos), fixed=fixed) == text


@pytest.mark.parametrize("seconds,text", [
    (0, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (60, "About a minute"), (119, "About a minute"),
    (120, "2 minutes"), (3599, "59 minutes"), (3600, "About an hour"), (5399, "About an hour"), (5401, "2 hours"),
    (47 * 3600, "47 hours"), (48 * 3600, "2 days"), (13 * 86400, "13 days"), (14 * 86400, "2 weeks"),
    (60 * 86400, "2 months"), (800 * 86400, "2 years"),
])
def test_durations_are_told_as_docker_tells_them(seconds, text):
    assert container_view.human(seconds) == text


def container(state, **status):
    made = exec_pb2.Container(status=exec_pb2.ContainerStatus(state=state))
    for key, value in status.items():
        getattr(made.status, key).CopyFrom(value)
    return made


@pytest.mark.parametrize("made,text", [
    (container(exec_pb2.CONTAINER_STATE_CREATED), "Created"),
    (container(exec_pb2.CONTAINER_STATE_RUNNING, started_at=Timestamp(seconds=97)), "Up 3 seconds"),
    (container(exec_pb2.CONTAINER_STATE_PAUSED, started_at=Timestamp(seconds=97)), "Up 3 seconds (Paused)"),
    (container(exec_pb2.CONTAINER_STATE_EXITED, finished_at=Timestamp(seconds=40), exit=exec_pb2.Exit(code=7)),
     "Exited (7) About a minute ago"),
    (container(exec_pb2.CONTAINER_STATE_EXITED, finished_at=Timestamp(seconds=98), exit=exec_pb2.Exit()),
     "Exited (255) 2 seconds ago"),
    (container(exec_pb2.CONTAINER_STATE_REMOVING), "Removal In Progress"),
    (container(exec_pb2.CONTAINER_STATE_DEAD), "Dead"),
])
def test_a_status_is_told_as_docker_tells_it_and_an_unknown_exit_is_never_zero(made, text):
    assert container_view.status_text(made, now=100.0) == text


def test_variables_take_slashes_where_the_pattern_says_so_and_the_suffix_is_matched_from_the_right():
    routes = Routes()

    @routes.get("/images/{name:.*}/json")
    async def inspect(call):
        """Looked up, never called."""

    @routes.get("/containers/{name}/json")
    async def container_json(call):
        """Looked up, never called."""

    for path, name in (("/images/127.0.0.1:5000/a/b:v1/json", "127.0.0.1:5000/a/b:v1"), ("/images/a%2Fb/json", "a/b"),
                       ("/images/get/json/json", "get/json")):
        found = match(routes.entries, "GET", path)
        assert found is not None
        assert found[1] == {"name": name}
    assert match(routes.entries, "GET", "/containers/a/b/json") is None
    assert match(routes.entries, "POST", "/containers/a/json") is None


def test_no_route_is_registered_twice():
    keys = [(route.method, route.pattern) for table in TABLES for route in table.entries]
    assert len(keys) == len(set(keys))
