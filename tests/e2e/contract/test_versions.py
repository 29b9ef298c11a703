"""What changed from API version to API version since 1.44, each asked on both sides of its version.

Source: the Engine API's version history. A *place* is a path of keys into an answer; ``[]`` is a list's first entry.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import pytest

from gateway.rest.versions import NEWEST, Version
from tests import images
from tests.e2e.wire import Wire

GONE: Final = object()
"""In place of a value: the place is not there."""
_TOP_LEVEL: Final = (
    "Bridge", "HairpinMode", "LinkLocalIPv6Address", "LinkLocalIPv6PrefixLen", "SecondaryIPAddresses",
    "SecondaryIPv6Addresses", "EndpointID", "Gateway", "GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPAddress",
    "IPPrefixLen", "IPv6Gateway", "MacAddress",
)
_ANY: Final = object()
"""In place of a value: the place is there."""


@dataclass(frozen=True)
class Change:
    """What stands at ``place`` of the answer to a GET of ``path``, ``before`` API version 1.``minor`` and ``since``."""

    minor: int
    path: str
    place: str
    before: Any
    since: Any


CHANGES: Final = (
    Change(45, "/images/{image}/json", "Container", "", GONE),
    Change(45, "/images/{image}/json", "ContainerConfig", _ANY, GONE),
    Change(46, "/containers/json?all=1", "[].HostConfig.Annotations", GONE, {"a": "b"}),
    Change(49, "/info", "RegistryConfig.AllowNondistributableArtifactsCIDRs", [], GONE),
    Change(50, "/info", "BridgeNfIptables", _ANY, GONE),
    Change(50, "/images/{image}/json", "Config.Hostname", "", GONE),
    Change(51, "/images/json", "[].Containers", -1, 1),
    *(Change(52, "/containers/api/json", f"NetworkSettings.{key}", _ANY, GONE) for key in _TOP_LEVEL),
    Change(52, "/containers/api/json", "Config.OnBuild", None, GONE),
    Change(52, "/containers/json?all=1", "[].Health", GONE, {"Status": "none", "FailingStreak": 0}),
    *(Change(52, "/images/{image}/json", key, "", GONE)
      for key in ("Parent", "Comment", "DockerVersion", "Author", "Config.User", "Config.WorkingDir")),
    *(Change(52, "/images/{image}/json", f"Config.{key}", None, GONE)
      for key in ("Entrypoint", "Labels", "OnBuild", "Volumes")),
    Change(52, "/networks/tight", "Status", GONE,
           {"IPAM": {"Subnets": {"10.98.7.0/24": {"IPsInUse": 4, "DynamicIPsAvailable": 62}}}}),
    Change(52, "/networks/none", "Status", GONE, {"IPAM": {"Subnets": {}}}),
    Change(52, "/networks", "[].Status", GONE, GONE),
    Change(52, "/system/df?type=container", "ContainerUsage.TotalCount", GONE, 1),
    Change(52, "/system/df?type=container&verbose=1", "Containers.[].Names", ["/api"], GONE),
    Change(52, "/system/df?type=container&verbose=1", "ContainerUsage.Items.[].Names", GONE, ["/api"]),
    Change(52, "/system/df?type=container&verbose=0", "ContainerUsage.Items", GONE, GONE),
    Change(52, "/system/df?type=container", "Containers.[].Names", ["/api"], ["/api"]),
    Change(52, "/system/df?type=container", "Images", [], GONE),
    Change(52, "/events?since=1&until={now}&filters={created}", "status", "create", GONE),
    Change(52, "/events?since=1&until={now}&filters={created}", "from", _ANY, GONE),
    Change(52, "/events?since=1&until={now}&filters={created}", "Action", "create", "create"),
    Change(53, "/images/{image}/json", "Identity.Pull.[].Repository", GONE, "{repository}"),
)


@pytest.fixture(scope="module")
def words(engine, registry) -> Iterator[dict[str, str]]:
    """A pulled image, a container of it and a network with a range; the words that stand for them in the table."""
    wire, host = Wire(engine.instance.api_socket), registry.host
    registry.push("versions", "1", images.pack(images.layered()))
    wire.post(f"/images/create?fromImage={host}/versions&tag=1")
    image = f"{host}/versions:1"
    config = {"Subnet": "10.98.7.0/24", "IPRange": "10.98.7.0/26", "AuxiliaryAddresses": {"a": "10.98.7.200"}}
    wire.post("/networks/create", {"Name": "tight", "IPAM": {"Config": [config]}})
    body = {"Image": image, "Cmd": ["true"], "HostConfig": {"Annotations": {"a": "b"}}}
    id_ = wire.post("/containers/create?name=api", body, 201).json["Id"]
    yield {
        "image": image, "repository": f"{host}/versions", "now": str(int(time.time()) + 1),
        "created": quote(json.dumps({"container": [id_], "event": ["create"]})),
    }
    wire.call("DELETE", "/containers/api")
    wire.call("DELETE", "/networks/tight")
    wire.call("DELETE", f"/images/{image}?force=1")


@pytest.fixture(autouse=True)
def no_containers_left():
    """In place of the directory's own, which would take the module's container away."""


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: f"1.{change.minor} {change.path} {change.place}")
def test_an_answer_changes_with_its_version_and_stays_so(engine, words, change):
    wire = Wire(engine.instance.api_socket)
    for version, expected in ((Version(1, change.minor - 1), change.before), (Version(1, change.minor), change.since),
                              (NEWEST, change.since)):
        path = _filled(change.path, words)
        answer = wire.call("GET", f"/v{version}{path}")
        assert answer.status == 200, answer
        found = _at(answer.objects[0], change.place)
        wanted = _filled(expected, words) if isinstance(expected, str) else expected
        assert found is not GONE if wanted is _ANY else found == wanted, (str(version), found)


@pytest.mark.parametrize("accept,before,in_1_52,since_1_53", [
    ("", "application/json", "application/json", "application/json"),
    ("*/*", "application/json", "application/x-ndjson", "application/jsonl"),
    ("application/jsonl", "application/json", "application/json", "application/jsonl"),
    ("application/x-ndjson", "application/json", "application/x-ndjson", "application/x-ndjson"),
    ("application/json-seq", "application/json", "application/json-seq", "application/json-seq"),
])
def test_events_have_the_form_that_the_client_accepts(engine, words, accept, before, in_1_52, since_1_53):
    wire, path = Wire(engine.instance.api_socket), _filled("/events?since=1&until={now}&filters={created}", words)
    for minor, expected in ((51, before), (52, in_1_52), (53, since_1_53), (NEWEST.minor, since_1_53)):
        answer = wire.call("GET", f"/v1.{minor}{path}", **({"Accept": accept} if accept else {}))
        assert answer.headers["content-type"] == expected
        mark = b"\x1e" if expected == "application/json-seq" else b""
        assert answer.body.startswith(mark + b"{")
        assert json.loads(answer.body.removeprefix(mark))["Actor"]["Attributes"]["name"] == "api"


@pytest.mark.parametrize("minor,line,body,words_", [
    (52, "GET /system/df?verbose=perhaps", None, "invalid value for verbose: perhaps"),
    (52, "POST /containers/create", {"Image": "busybox", "MacAddress": "02:00:00:00:00:01"}, "MacAddress"),
    (54, "GET /images/json?identity=1", None, "conflicting options: identity requires manifests=1"),
])
def test_what_a_version_forbids_was_allowed_before(engine, minor, line, body, words_):
    wire = Wire(engine.instance.api_socket)
    method, path = line.split()
    allowed = wire.call(method, f"/v1.{minor - 1}{path}", body)
    assert allowed.status in (200, 201)
    if "Id" in (made := allowed.json):
        wire.call("DELETE", f"/containers/{made['Id']}")
    for version in (f"1.{minor}", NEWEST):
        refused = wire.call(method, f"/v{version}{path}", body)
        assert (refused.status, words_ in refused.message) == (400, True), refused


def test_an_archive_may_be_of_one_of_several_platforms_since_1_52(engine):
    wire = Wire(engine.instance.api_socket)
    both = "&".join(f"platform={quote(json.dumps(each))}" for each in (
        {"os": "linux", "architecture": "s390x"}, {"os": "linux"}))
    refused = wire.call("GET", f"/v1.51/images/busybox/get?{both}")
    assert (refused.status, "multiple platform parameters" in refused.message) == (400, True)
    assert wire.call("GET", f"/v1.52/images/busybox/get?{both}").status == 200
    other = wire.call("GET", f"/v1.52/images/busybox/get?{both.partition('&')[0]}")
    assert (other.status, "linux/s390x" in other.message) == (404, True)


def test_a_prune_of_the_build_cache_keeps_by_its_old_name_until_1_52(engine):
    wire = Wire(engine.instance.api_socket)
    assert wire.call("POST", "/v1.51/build/prune?keep-storage=much").status == 400, "it is read"
    assert wire.call("POST", "/v1.52/build/prune?keep-storage=much").status == 200, "it is a word like any other"
    assert wire.call("POST", "/v1.52/build/prune?reserved-space=much").status == 400


def _filled(text: str, words: dict[str, str]) -> str:
    for name, value in words.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def _at(value: Any, place: str) -> Any:
    """The value at ``place``, or GONE."""
    for key in place.split("."):
        if key == "[]":
            if not value:
                return GONE
            value = value[0]
        elif key in value:
            value = value[key]
        else:
            return GONE
    return value
