"""Modes as chmod(1) takes them, beside this machine's chmod."""

import os
import stat
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis import modes
from chassis.errors import InvalidArgument

ACTIONS = st.builds(
    str.__add__, st.sampled_from("+-="),
    st.one_of(st.lists(st.sampled_from("rwxXst"), max_size=4).map("".join), st.sampled_from("ugo")))
CLAUSES = st.builds(
    str.__add__, st.lists(st.sampled_from("ugoa"), max_size=3).map("".join),
    st.lists(ACTIONS, min_size=1, max_size=3).map("".join))


@given(st.lists(CLAUSES, min_size=1, max_size=3).map(",".join), st.integers(0, 0o7777))
@settings(max_examples=60)
def test_a_files_mode_becomes_what_chmod_makes_of_it(tmp_path_factory, text, mode):
    file = tmp_path_factory.mktemp("mode") / "file"
    file.touch()
    file.chmod(mode)
    subprocess.run(["chmod", "--", text, str(file)], check=True, umask=0)
    assert oct(modes.parse(text).applied(mode, is_directory=False)) == oct(stat.S_IMODE(os.stat(file).st_mode)), text


@pytest.mark.parametrize(("text", "mode", "is_directory", "expected"), [
    ("0", 0o755, False, 0), ("07777", 0, False, 0o7777), ("00000755", 0, False, 0o755), ("go-w", 0o666, False, 0o644),
    ("a+X", 0o644, True, 0o755), ("a+X", 0o644, False, 0o644), ("u=rwX,go=rX", 0o600, True, 0o755),
    ("u=rwX,go=rX", 0o777, False, 0o755), ("+t", 0o777, True, 0o1777), ("o=g-r", 0o754, False, 0o751),
    ("u+s,g=u", 0o700, False, 0o4770), ("=+X", 0o111, False, 0), ("=X", 0o001, False, 0o111),
])
def test_modes_are_read(text, mode, is_directory, expected):
    assert modes.parse(text).applied(mode, is_directory=is_directory) == expected


@pytest.mark.parametrize("text", [
    "", "8", "77777", "-1", "u", "rwx", "u=rwx,", ",", "u+q", "z+r", "+rug", "u = r", "x" * 1000, "0o755", "é+x",
])
def test_what_chmod_would_not_take_is_refused(text):
    with pytest.raises(InvalidArgument, match="it should be octal string and between 0 and 07777"):
        modes.parse(text)
