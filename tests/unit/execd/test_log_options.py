"""What log drivers can be told, and how a container is named in a log."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import InvalidArgument, Unimplemented
from execd.logs import options, tag
from execd.logs.regex import BadPattern, Pattern
from pier.exec.v1 import exec_pb2

DISTANT = {"syslog-address": "udp://host:514"}


def judged(driver: str = "", **given_: str) -> options.Kept:
    return options.judge(exec_pb2.LogSpec(driver=driver, options={k.replace("_", "-"): v for k, v in given_.items()}))


@pytest.mark.parametrize("driver, given_, most, files, compress", [
    ("", {}, 10 << 20, 3, False), ("", {"max_size": "1k", "max_file": "1"}, 1024, 1, False),
    ("json-file", {"compress": "true"}, 10 << 20, 3, True), ("", {"max_size": "-1"}, 0, 3, False),
    ("local", {}, 20 << 20, 5, True), ("local", {"compress": "false"}, 20 << 20, 5, False),
    ("local", {"max_file": "1"}, 20 << 20, 1, False), ("none", {}, 10 << 20, 3, False),
    ("syslog", {"cache_max_size": "5m", "cache_max_file": "2", "cache_compress": "false"}, 5 << 20, 2, False),
    ("fluentd", {}, 20 << 20, 5, True),
])
def test_what_is_kept(driver: str, given_: dict[str, str], most: int, files: int, compress: bool) -> None:
    kept = judged(driver, **given_)
    assert (kept.max_bytes, kept.max_files, kept.compress) == (most, files, compress)
    assert kept.readable is (driver != "none")


def test_a_destination_may_lag_behind_by_what_is_kept_or_by_its_buffer() -> None:
    assert judged("syslog").behind is None
    assert judged("syslog", mode="non-blocking").behind == 1 << 20
    assert judged("syslog", mode="non-blocking", max_buffer_size="4m").behind == 4 << 20
    assert not judged("syslog", cache_disabled="true").readable


@pytest.mark.parametrize("driver, given_, words", [
    ("", {"max-size": "0"}, "max-size"), ("", {"max-size": "x"}, "max-size"), ("", {"max-file": "0"}, "max-file"),
    ("", {"nonsense": "x"}, "unknown log opt 'nonsense' for json-file log driver"),
    ("local", {"labels": "x"}, "unknown log opt 'labels' for local"), ("none", {"tag": "x"}, "unknown log opt"),
    ("", {"compress": "perhaps"}, "compress"), ("", {"compress": "true", "max-file": "1"}, "compress cannot be true"),
    ("", {"compress": "true", "max-size": "-1"}, "compress cannot be true"),
    ("", {"mode": "sometimes"}, "logging mode not supported"), ("", {"max-buffer-size": "1m"}, "only supported with"),
    ("", {"tag": "{{.Nonsense}}"}, "tag"), ("", {"tag": "{{.Name"}, "tag"), ("", {"env-regex": "("}, "env-regex"),
    ("", {"syslog-address": "udp://x"}, "unknown log opt"),
    ("syslog", {"syslog-address": "http://x"}, "schemes"), ("syslog", {"syslog-address": "tcp://"}, "HOST"),
    ("syslog", {"syslog-address": "unix://relative"}, "absolute path"),
    ("syslog", {"syslog-facility": "nobody"}, "invalid syslog facility"),
    ("syslog", {"syslog-facility": "24"}, "invalid syslog facility"),
    ("syslog", {"syslog-format": "rfc1"}, "Invalid syslog format"), ("syslog", {"max-size": "1m"}, "unknown log opt"),
    ("syslog", {"syslog-tls-cert": "/x"}, "need each other"),
    ("fluentd", {"fluentd-address": "udp://x"}, "schemes"), ("fluentd", {"fluentd-buffer-limit": "1"}, "not supported"),
    ("fluentd", {"fluentd-async": "x"}, "no boolean"), ("journald", {"max-size": "1m"}, "unknown log opt"),
])
def test_what_cannot_be_is_refused_by_name(driver: str, given_: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidArgument, match=re.escape(words)) as refused:
        options.judge(exec_pb2.LogSpec(driver=driver, options=given_))
    assert refused.value.reason == "BAD_LOG_OPTION"


def test_a_driver_that_is_not_built_is_refused_by_name() -> None:
    with pytest.raises(Unimplemented, match="gelf") as refused:
        judged("gelf")
    assert "syslog" in refused.value.expected


def test_a_host_must_have_what_the_driver_needs(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="journald is not enabled on this host") as refused:
        options.check_host(exec_pb2.LogSpec(driver="journald"), tmp_path / "socket")
    assert refused.value.reason == "NO_JOURNAL"
    secure = {"syslog-address": "tcp+tls://host", "syslog-tls-ca-cert": str(tmp_path / "none")}
    with pytest.raises(InvalidArgument, match="syslog-tls"):
        options.check_host(exec_pb2.LogSpec(driver="syslog", options=secure), tmp_path)
    options.check_host(exec_pb2.LogSpec(driver="syslog", options=DISTANT), tmp_path)


CONTAINER = exec_pb2.Container(
    id="ab" * 32, name="web",
    spec=exec_pb2.ContainerSpec(
        image="busybox:1", image_id="sha256:" + "cd" * 32, labels={"com.a": "1", "com.b": "<2>", "x": "3"},
        process=exec_pb2.Process(env=[b"HOME=/root", b"TOKEN=a=b", b"EMPTY="]),
    ),
)


@pytest.mark.parametrize("template, text", [
    ("", "abababababab"), ("{{.ID}}", "abababababab"), ("{{ .FullID }}", "ab" * 32), ("{{.Name}}/{{.ID}}",
     "web/abababababab"), ("{{.ImageName}}", "busybox:1"), ("{{.ImageID}}", "cd" * 6),
    ("{{.ImageFullID}}", "sha256:" + "cd" * 32), ("{{.DaemonName}}", "docker"), ("plain", "plain"),
    ('{{index .ContainerLabels "x"}}', "3"), ('{{index .ContainerLabels "none"}}', ""),
])
def test_a_tag_is_dockers_template(template: str, text: str) -> None:
    tag.check({"tag": template})
    assert tag.tag(CONTAINER, {"tag": template}) == text


@pytest.mark.parametrize("given_, found", [
    ({}, {}), ({"labels": "x,none"}, {"x": "3"}), ({"labels-regex": r"^com\."}, {"com.a": "1", "com.b": "<2>"}),
    ({"env": "TOKEN,EMPTY"}, {"TOKEN": "a=b", "EMPTY": ""}), ({"env-regex": "^H", "labels": "x"},
     {"HOME": "/root", "x": "3"}),
])
def test_attributes_are_the_labels_and_variables_that_are_named(given_: dict[str, str], found: dict[str, str]) -> None:
    assert tag.attributes(CONTAINER, given_) == found


def test_a_record_carries_them_as_go_would_write_them() -> None:
    made = exec_pb2.Container()
    made.CopyFrom(CONTAINER)
    assert tag.record_attributes(made) == ""
    made.spec.log.options.update({"labels": "com.b,x", "tag": "{{.Name}}"})
    assert tag.record_attributes(made) == r'{"com.b":"\u003c2\u003e","tag":"web","x":"3"}'


PIECES = st.sampled_from(["a", "b", "c", ".", "[ab]", "[^a]", "^", r"\d", r"[\da-c]", r"\.", r"\W"])
PATTERNS = st.recursive(PIECES, lambda inner: st.one_of(
    st.tuples(inner, inner).map("".join), st.tuples(inner, inner).map(lambda pair: f"({pair[0]}|{pair[1]})"),
    st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{2,}", "*?"])).map(
        lambda pair: f"(?:{pair[0]}){pair[1]}"),
), max_leaves=8)


@given(PATTERNS, st.text("abc1.", max_size=8))
def test_a_pattern_finds_what_the_standard_library_finds(source: str, text: str) -> None:
    assert Pattern(source).found_in(text) is bool(re.search(source, text))


def test_no_pattern_is_slow() -> None:
    """With the standard library this takes longer than the universe has been there."""
    assert not Pattern("(a+)+$").found_in("a" * 300 + "b")
    with pytest.raises(BadPattern, match="too many repeats"):
        Pattern("(((a{50}){50}){50}){50}")


@pytest.mark.parametrize("source", ["(", ")", "*a", "a**", "[a", "a{x}", "a{3,1}", r"\1", r"\pL", "(?P<n>a)",
                                    "[[:alpha:]]", "\\", "x" * 600, "[b-a]"])
def test_what_is_no_pattern_is_refused(source: str) -> None:
    with pytest.raises(BadPattern):
        Pattern(source)
