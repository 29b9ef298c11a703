"""imaged.reference: Docker's familiar names and what they stand for."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import InvalidArgument
from imaged.reference import Reference, check_tag, parse

D = "sha256:" + "0" * 64


@pytest.mark.parametrize("text, canonical, familiar", [
    ("busybox", "docker.io/library/busybox:latest", "busybox:latest"),
    ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
    ("library/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
    ("docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
    ("index.docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
    ("user/app", "docker.io/user/app:latest", "user/app:latest"),
    ("docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
    ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
    ("127.0.0.1:5000/app:1", "127.0.0.1:5000/app:1", "127.0.0.1:5000/app:1"),
    ("[::1]:5000/app", "[::1]:5000/app:latest", "[::1]:5000/app:latest"),
    ("ghcr.io/a/b__c/d.e-f--g", "ghcr.io/a/b__c/d.e-f--g:latest", "ghcr.io/a/b__c/d.e-f--g:latest"),
    ("Host/app", "Host/app:latest", "Host/app:latest"),
    (f"busybox@{D}", f"docker.io/library/busybox@{D}", f"busybox@{D}"),
    (f"busybox:1@{D}", f"docker.io/library/busybox:1@{D}", f"busybox:1@{D}"),
])
def test_a_reference_has_a_canonical_and_a_familiar_form(text: str, canonical: str, familiar: str) -> None:
    reference = parse(text).with_default_tag()
    assert reference.canonical == canonical
    assert reference.familiar == familiar
    assert parse(canonical) == reference
    assert parse(familiar) == reference


@pytest.mark.parametrize("text, message", [
    ("", "invalid reference format: repository name must have at least one component"),
    ("BusyBox", "invalid reference format: repository name (library/BusyBox) must be lowercase"),
    ("a b", "invalid reference format"),
    ("-a", "invalid reference format"),
    ("a:", "invalid reference format"),
    ("a:" + "t" * 129, "invalid reference format"),
    ("a/../b", "invalid reference format"),
    ("../a", "invalid reference format"),
    ("/a", "invalid reference format"),
    ("a/", "invalid reference format"),
    ("a//b", "invalid reference format"),
    ("http://h/a", "invalid reference format"),
    ("h:5000:6/a", "invalid reference format"),
    ("a\n", "invalid reference format"),
    ("f" * 64, "invalid repository name (" + "f" * 64 + "), cannot specify 64-byte hexadecimal strings"),
    ("a" * 256, "repository name must not be more than 255 characters"),
])
def test_what_is_no_reference_is_refused_in_dockers_words(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse(text)
    assert caught.value.message == message
    assert caught.value.http_status == 400
    assert caught.value.reason == "BAD_REFERENCE"


@pytest.mark.parametrize("digest", [
    "sha256:../../x", "sha256:" + "0" * 63, "sha256:" + "A" * 64, "sha512:" + "0" * 128, "md5:" + "0" * 32, "",
    "sha256:" + "0" * 64 + "/..", "sha256:" + "0" * 64 + "\n",
])
def test_36_a_digest_that_is_none_is_refused(digest: str) -> None:
    with pytest.raises(InvalidArgument):
        parse("busybox@" + digest)


@given(st.text(max_size=40) | st.from_regex(r"[a-z0-9./:@_-]{0,40}", fullmatch=True))
def test_whatever_is_accepted_is_stable_and_safe(text: str) -> None:
    with contextlib.suppress(InvalidArgument):
        reference = parse(text)
        assert parse(reference.canonical) == reference
        assert parse(reference.familiar) == reference
        assert ".." not in reference.path.split("/")
        assert reference.canonical.isascii()
        assert not set(reference.canonical) & set(" \n\t\\?#%")


def test_a_tag_is_checked_alone() -> None:
    assert check_tag("v1.0_x-y") == "v1.0_x-y"
    with pytest.raises(InvalidArgument, match="invalid tag format"):
        check_tag(".x")


def test_a_reference_is_a_value() -> None:
    assert {parse("a"), parse("library/a")} == {Reference("docker.io", "library/a")}
