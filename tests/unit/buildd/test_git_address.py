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
