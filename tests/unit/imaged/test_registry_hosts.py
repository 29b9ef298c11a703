"""hosts.toml: what is understood, and what is refused by its key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import InvalidArgument
from imaged import registry_hosts


def written(tmp_path, text, domain="r.example"):
    place = tmp_path / domain
    place.mkdir(exist_ok=True)
    (place / "hosts.toml").write_text(text)
    return registry_hosts.read(str(tmp_path), "r.example")


def test_mirrors_come_in_the_order_of_the_file(tmp_path):
    hosts = written(tmp_path, """
        server = "https://r.example/"
        [host."https://b.example"]
        [host."http://a.example:5000/v2/proxy"]
        override_path = true
        capabilities = ["pull"]
        client = [["c", "k"]]
        ca = "ca"
        skip_verify = true
        rewrite = { "^library/(.*)$" = "hub/$1", "x" = "y" }
    """)
    assert (hosts.server.base, hosts.server.root) == ("https://r.example", "/v2")
    first, second = hosts.mirrors
    assert (first.base, first.root, first.resolves, first.pulls) == ("https://b.example", "/v2", True, True)
    assert (second.base, second.root) == ("http://a.example:5000", "/v2/proxy")
    assert (second.resolves, second.verifies, second.authorities, second.certificates) == (
        False, False, ("ca",), (("c", "k"),))
    assert [second.repository(path) for path in ("library/a", "x/x", "other")] == ["hub/a", "y/x", "other"]


def test_a_registry_without_a_file_takes_the_default_one(tmp_path):
    assert registry_hosts.read(str(tmp_path), "r.example") == registry_hosts.Hosts()
    assert written(tmp_path, '[host."https://m"]', "_default").mirrors[0].host == "m"
    assert written(tmp_path, "").mirrors == ()


@pytest.mark.parametrize(("text", "key"), [
    ("nonsense", "hosts.toml"), ("other = 1", "other"), ("host = 1", "host"), ("server = 1", "server"),
    ('[host."ftp://x"]', "ftp://x"), ('[host."https://u:p@x"]', "https://u:p@x"),
    ('[host."https://x:99999"]', "x:99999"),
    ('[host."https://x"]\nheader = {}', "header"), ('[host."https://x"]\nskip_verify = "yes"', "skip_verify"),
    ('[host."https://x"]\ncapabilities = ["all"]', "capabilities"), ('[host."https://x"]\nca = 1', "ca"),
    ('[host."https://x"]\nclient = [["one"]]', "client"), ('[host."https://x"]\nrewrite = {"(" = "x"}', "rewrite"),
    ('[host."https://x"]\nrewrite = {"a" = "$2"}', "rewrite"), ('[host."https://x"]\nrewrite = {"a" = 1}', "rewrite"),
])
def test_what_is_wrong_is_named(tmp_path, text, key):
    with pytest.raises(InvalidArgument) as refused:
        written(tmp_path, text)
    assert key in refused.value.message
    assert refused.value.field == "registry_hosts"


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(tmp_path_factory, text):
    try:
        written(tmp_path_factory.mktemp("hosts"), text.encode("utf-8", "replace").decode())
    except InvalidArgument:
        pass
