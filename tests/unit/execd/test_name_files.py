"""The engine's files under a container that may have changed them."""

from hypothesis import given
from hypothesis import strategies as st

from execd import name_files

BEFORE = b"127.0.0.1\tlocalhost\n172.17.0.2\tme\n"
LINES = st.lists(st.sampled_from([b"a\n", b"b\n", b"c\n", b"d\n"]), max_size=8)


def test_the_engines_lines_change_and_the_containers_stay():
    now = b"# mine\n" + BEFORE + b"10.0.0.1\tother"
    after = b"127.0.0.1\tlocalhost\n172.18.0.9\tme\n"
    assert name_files.hosts(BEFORE, after, now) == (
        b"# mine\n127.0.0.1\tlocalhost\n10.0.0.1\tother\n172.18.0.9\tme\n")


@given(LINES, LINES)
def test_a_file_that_the_container_left_alone_has_the_new_lines(before, after):
    made = name_files.hosts(b"".join(before), b"".join(after), b"".join(before))
    assert sorted(made.splitlines()) == sorted(b"".join(after).splitlines())


@given(LINES, LINES, st.lists(st.sampled_from([b"x\n", b"y\n"]), max_size=4))
def test_what_the_container_wrote_is_never_lost(before, after, own):
    made = name_files.hosts(b"".join(before), b"".join(after), b"".join(own + before)).splitlines(keepends=True)
    assert [line for line in made if line in (b"x\n", b"y\n")] == own


def test_resolv_conf_is_replaced_where_it_is_still_the_engines():
    assert name_files.resolv_conf(b"old", b"new", b"old") == b"new"
    assert name_files.resolv_conf(b"old", b"new", b"mine") == b"mine"
