import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildd.git_address import Address, is_git, parse
from chassis.errors import InvalidArgument, PierError, Unimplemented


@pytest.mark.parametrize("text, expected", [
    ("https://h/a.git", Address("https://h/a.git")),
    ("https://h/a.git#v1", Address("https://h/a.git", "v1")),
    ("https://h/a.git#:sub", Address("https://h/a.git", "", "sub")),
    ("https://u:w@h:8443/a.git#feature/x:/sub/dir/", Address("https://u:w@h:8443/a.git", "feature/x", "sub/dir")),
    ("git://h/a", Address("git://h/a")),
    ("github.com/one/two#main", Address("https://github.com/one/two", "main")),
    ("https://h/a.git?branch=x/y&subdir=/d", Address("https://h/a.git", "refs/heads/x/y", "d")),
    ("https://h/a.git?tag=v1&commit=abc", Address("https://h/a.git", "refs/tags/v1", checksum="abc")),
    ("https://h/a.git?checksum=abc", Address("https://h/a.git", "abc", checksum="abc")),
    ("https://h/a.git?ref=v1&keep-git-dir=1#v1", Address("https://h/a.git", "v1", keep_git_dir=True)),
    ("git://h/a?keep-git-dir&submodules=0", Address("git://h/a", keep_git_dir=True, submodules=False)),
    ("https://h/a.git?keep-git-dir=false", Address("https://h/a.git", keep_git_dir=False)),
])
def test_an_address_is_read(text, expected):
    assert is_git(text, bare_host=True)
    assert parse(text, "remote") == expected


@pytest.mark.parametrize("text", ["https://h/a.tar", "http://h/a.git/b", "file", "a.git", "./github.com/x", "file:///a.git"])
def test_what_is_no_repository_is_left_to_others(text):
    assert not is_git(text)


@pytest.mark.parametrize("text, field", [
    ("https://h/a.git#-x", "#"), ("https://h/a.git#a..b", "#"), ("https://h/a.git#a b", "#"),
    ("https://h/a.git#a:b\0", "#"), ("https://h/a.git#a:b/../../c", "#"),
    ("https:///a.git", "HOST"), ("https://h/a .git", "HOST"), ("ext::sh -c x", "HOST"), ("https://[h/a.git", "HOST"),
])
def test_what_is_no_address_is_refused_and_the_error_says_what_was_expected(text, field):
    with pytest.raises(InvalidArgument) as caught:
        parse(text, "remote")
    assert caught.value.field == "remote"
    assert field in caught.value.expected


@pytest.mark.parametrize("text", ["ssh://h/a.git", "git@h:a.git"])
def test_ssh_is_refused_by_name(text):
    with pytest.raises(Unimplemented, match="over ssh"):
        parse(text, "ADD")


@pytest.mark.parametrize("url, expected", [
    ("../other.git", "https://h/x/other.git"), ("./inner", "https://h/x/a.git/inner"), ("http://o/b.git", "http://o/b.git"),
])
def test_a_submodule_may_be_beside_its_parent(url, expected):
    assert Address("https://h/x/a.git", "v1", "sub").relative(url) == Address(expected)


def test_a_submodule_may_be_beside_its_parent_by_every_protocol():
    assert Address("git://h:9418/x/a.git").relative("../b.git") == Address("git://h:9418/x/b.git")


@pytest.mark.parametrize("url", ["/etc", "file:///etc", "--upload-pack=x", "ext::x", "git@h:x"])
def test_a_submodule_is_never_on_the_engines_own_disk(url):
    with pytest.raises(PierError):
        Address("https://h/x/a.git").relative(url)


@pytest.mark.parametrize("query, words", [
    ("x=1", "unexpected query 'x'"), ("brnch=a", "did you mean branch"), ("ref=", "has no value"),
    ("ref", "has no value"), ("ref=a&ref=b", "multiple values"), ("ref=a&branch=a", "ref conflicts"),
    ("tag=a&branch=a", "ref conflicts"),
    ("submodules=maybe", "invalid submodules value"), ("subdir=../x", "no directory"),
    ("branch=a..b", "no git reference"), ("&".join(["submodules=1"] * 50), "too many"),
])
def test_a_query_that_says_nothing_is_refused(query, words):
    with pytest.raises(InvalidArgument, match=words):
        parse(f"https://h/a.git?{query}", "remote")


@given(st.text().map(lambda text: text if text.startswith("http") else f"https://h/a.git?{text}"))
def test_whatever_a_query_says_becomes_no_option_of_gits(text):
    try:
        found = parse(text, "remote")
    except PierError:
        return
    assert not found.ref.startswith("-")
    assert "?" not in found.url


@given(st.text())
def test_whatever_is_asked_for_becomes_no_option_of_gits(text):
    is_git(text)
    try:
        found = parse(text, "remote")
    except PierError:
        return
    assert found.url.startswith(("https://", "http://", "git://"))
    assert not found.ref.startswith("-")
    assert "\0" not in found.url + found.ref + found.directory
