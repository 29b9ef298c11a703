"""Image names of requests, and the patterns of the reference filter."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rest import names

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    "repository,tag,reference",
    [
        ("busybox", "latest", "busybox:latest"),
        ("127.0.0.1:5000/x", "v1", "127.0.0.1:5000/x:v1"),
        ("127.0.0.1:5000/x", DIGEST, f"127.0.0.1:5000/x@{DIGEST}"),
        ("busybox:1.36", "", "busybox:1.36"),
        ("busybox:1.36", "1.35", "busybox:1.35"),
        (f"x:v1@{DIGEST}", "", f"x:v1@{DIGEST}"),
        ("127.0.0.1:5000/x", "", "127.0.0.1:5000/x"),
    ],
)
def test_a_given_tag_goes_before_the_repositorys_own(repository, tag, reference):
    assert names.joined(repository, tag) == reference


@pytest.mark.parametrize(
    "reference,tagged",
    [
        ("busybox", False), ("busybox:1", True), ("127.0.0.1:5000/x", False), ("127.0.0.1:5000/x:1", True),
        (f"x@{DIGEST}", True),
    ],
)
def test_a_registrys_port_is_no_tag(reference, tagged):
    assert names.has_tag(reference) is tagged


@pytest.mark.parametrize(
    "canonical,familiar",
    [
        (f"docker.io/library/busybox@{DIGEST}", f"busybox@{DIGEST}"),
        (f"docker.io/user/app@{DIGEST}", f"user/app@{DIGEST}"),
        (f"docker.io/library/a/b@{DIGEST}", f"library/a/b@{DIGEST}"),
        (f"127.0.0.1:5000/library/x@{DIGEST}", f"127.0.0.1:5000/library/x@{DIGEST}"),
    ],
)
def test_the_familiar_form_leaves_docker_hub_out(canonical, familiar):
    assert names.familiar(canonical) == familiar


@pytest.mark.parametrize(
    "pattern,reference,matches",
    [
        ("busybox", "busybox:latest", True),
        ("busybox:latest", "busybox:latest", True),
        ("busybox:1", "busybox:latest", False),
        ("docker.io/library/busybox", "busybox:latest", True),
        ("busy*", "busybox:latest", True),
        ("*:lat?st", "busybox:latest", True),
        ("*", "user/app:1", False),
        ("*/*", "user/app:1", True),
        ("[a-c]usybox", "busybox:latest", True),
        ("[^a-c]usybox", "busybox:latest", False),
        (r"busy\*", "busybox:latest", False),
        ("127.0.0.1:5000/*", "127.0.0.1:5000/app:1", True),
        ("b.sybox", "busybox:latest", False),
    ],
)
def test_a_pattern_is_gos_and_stops_at_slashes(pattern, reference, matches):
    assert names.Pattern(pattern).matches(reference) is matches


@pytest.mark.parametrize("full", [
    "docker.io/library/busybox", "docker.io/user/app", "localhost/app", "127.0.0.1:5000/a/b", "example.com/app",
])
def test_the_full_name_is_what_the_familiar_one_stands_for(full):
    assert names.full(names.familiar(full)) == full


@pytest.mark.parametrize("pattern", ["[", "[]", "a\\", "[z-a]", "[a-]"])
def test_a_malformed_pattern_is_an_error(pattern):
    with pytest.raises(ValueError, match="pattern"):
        names.Pattern(pattern)


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_is_a_pattern_or_a_value_error(pattern, reference):
    try:
        compiled = names.Pattern(pattern)
    except ValueError:
        return
    assert compiled.matches(reference) in (True, False)


@given(st.text(st.characters(exclude_characters="*?[]\\/@:"), min_size=1))
def test_a_text_without_special_characters_matches_itself(text):
    assert names.Pattern(text).matches(text)
