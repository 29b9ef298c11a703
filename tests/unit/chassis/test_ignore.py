"""Patterns of .dockerignore, beside moby's own way of turning them into regular expressions."""

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chassis import glob, ignore
from chassis.errors import InvalidArgument
from chassis.ignore import Matcher


def moby(pattern: str) -> re.Pattern[str] | str:
    """patternmatcher's compile(): a regular expression, or the end that a path must have."""
    text, position, kind = "^", 0, "exact"
    first = True
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if character == "*":
            if pattern[position : position + 1] == "*":
                position += 1
                if pattern[position : position + 1] == "/":
                    position += 1
                if position == len(pattern):
                    kind = "prefix" if kind == "exact" else "regexp"
                    text += ".*"
                else:
                    text, kind = text + "(.*/)?", "regexp"
                if first:
                    kind = "suffix"
            else:
                text, kind = text + "[^/]*", "regexp"
        elif character == "?":
            text, kind = text + "[^/]", "regexp"
        else:
            text += re.escape(character)
        first = False
    return pattern.removeprefix("**") if kind == "suffix" else re.compile(text + "$", re.DOTALL)


def by_moby(pattern: str, path: str) -> bool:
    """Whether the pattern matches the path or one of its parents."""
    made = moby(pattern)
    parts = path.split("/")
    for length in range(1, len(parts) + 1):
        one = "/".join(parts[:length])
        if isinstance(made, str):
            if one.endswith(made) or (made.startswith("/") and one == made[1:]):
                return True
        elif made.match(one):
            return True
    return False


PATHS = st.lists(st.text("ab.", min_size=1, max_size=3).filter(lambda part: part.strip(".")), min_size=1, max_size=4)


@given(st.text("ab*?/.", min_size=1, max_size=9), PATHS)
@example("**/a/**/b", ["a", "b", "a", "b"])
@example("a**b", ["a", "b"])
@example("**a", ["ba"])
def test_a_pattern_matches_what_moby_matches(pattern, parts):
    cleaned = ignore._clean(pattern.encode()).decode()
    path = "/".join(parts)
    assert Matcher([pattern.encode()]).matches(path.encode()) == by_moby(cleaned, path)


@given(st.lists(st.text("ab*?/!", min_size=1, max_size=6).filter(lambda text: text.strip("!/.")), max_size=5), PATHS)
def test_the_last_pattern_that_matches_decides(patterns, parts):
    try:
        matcher = Matcher([pattern.encode() for pattern in patterns])
    except InvalidArgument:
        return
    expected = False
    for pattern in patterns:
        cleaned = ignore._clean(pattern.encode()).decode()
        if by_moby(cleaned.removeprefix("!"), "/".join(parts)):
            expected = not cleaned.startswith("!")
    assert matcher.matches("/".join(parts).encode()) == expected


@pytest.mark.parametrize(("patterns", "left_out", "kept"), [
    (["*.o"], ["a.o"], ["src/a.o", "a.c"]),
    (["**/*.o"], ["a.o", "src/a.o", "a/b/c.o"], ["a.c"]),
    (["node_modules"], ["node_modules", "node_modules/a/b"], ["src/node_modules"]),
    (["*", "!src", "!README.md"], ["Makefile", "doc/a"], ["src", "src/a", "README.md"]),
    (["docs", "!docs/*.md", "docs/secret.md"], ["docs/a", "docs/secret.md"], ["docs/a.md"]),
    (["/abs/path"], [], ["abs/path"]),  # the leading slash goes where the file is read
    (["te?t/[a-c]*"], ["test/b", "text/cx"], ["test/d", "te/t/a"]),
    (["a/**/z"], ["a/z", "a/b/z", "a/b/c/z"], ["a/b/zz", "z"]),
    (["**"], ["a", "a/b"], []),
    ([r"\*.o"], ["*.o"], ["a.o"]),
    (["[^a]x"], ["bx"], ["ax", "/x"]),
    (["?"], ["\u00e4", "a"], ["ab"]),
])
def test_examples(patterns, left_out, kept):
    matcher = Matcher([pattern.encode() for pattern in patterns])
    assert [path for path in left_out + kept if matcher.matches(path.encode())] == left_out


def test_a_file_is_read_as_docker_reads_it():
    assert ignore.read(b"\xef\xbb\xbf# no\n #yes\n\n  a/../b  \n/abs/\n! /x\n!\r\n/\n") == [
        b"#yes", b"b", b"abs", b"!x", b"!", b"/"]


@pytest.mark.parametrize("pattern", [b"[", b"[a", b"[]", b"[]a]", b"[-a]", b"[a-]", b"a\\", b"!", b"[^]"])
def test_what_is_no_pattern_is_refused_with_its_field(pattern):
    with pytest.raises(InvalidArgument) as refused:
        Matcher([pattern], "files.exclude")
    assert refused.value.field == "files.exclude"


@pytest.mark.parametrize("pattern", [b"**/a" * 200, b"*a" * 500 + b"b", b"a/**/" * 300 + b"*a*a*a*a*b", b"?*" * 300])
def test_hostile_patterns_take_no_time(pattern):
    matcher = Matcher([pattern])
    path = b"a" * 200 + b"/" + b"/".join([b"a" * 20] * 40)
    began = time.process_time()
    matcher.matches(path)
    assert time.process_time() - began < 5


@given(st.binary(min_size=1, max_size=12), st.binary(min_size=1, max_size=12))
def test_any_bytes_are_patterns_and_paths(pattern, path):
    try:
        matcher = Matcher([pattern.replace(b"\0", b"")])
    except InvalidArgument:
        return
    matcher.matches(path)


@given(st.text("ab*?[]^-\\", min_size=1, max_size=8), st.text("ab-^\\", max_size=6))
def test_one_part_matches_as_a_naive_walk_does(pattern, name):
    try:
        compiled = glob.compiled(pattern.encode())
    except InvalidArgument:
        return
    assert (compiled.fullmatch(name) is not None) == naive(list(glob.tokens(pattern, "")), name)


def naive(parts, name):
    if not parts:
        return not name
    kind, text = parts[0]
    if kind == "*":
        return any(naive(parts[1:], name[skip:]) for skip in range(len(name) + 1))
    one = bool(name) and (kind == "?" or (re.fullmatch(text, name[0]) if kind == "[" else name[0] == text))
    return bool(one) and naive(parts[1:], name[1:])
