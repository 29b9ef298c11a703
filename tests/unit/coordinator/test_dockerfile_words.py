"""Words, variables with their modifiers, and patterns."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import InvalidArgument
from coordinator.dockerfile import patterns, words
from coordinator.dockerfile.words import Lexer
from tests.unit.coordinator import lexing

VARIABLES = {"A": "abcabc", "EMPTY": "", "PATH": "/usr/local/bin", "TWO": "x y", "1": "one"}


@pytest.mark.parametrize(("text", "expected"), [
    ("$A", "abcabc"), ("${A}", "abcabc"), ("$NO-${NO}.", "-."), ("$A_b", ""), ("${A}_b", "abcabc_b"), ("$1a", "onea"),
    ("${A:-x}${EMPTY:-x}${NO:-x}", "abcabcxx"), ("${A-x}${EMPTY-x}${NO-x}", "abcabcx"),
    ("${A:+x}${EMPTY:+x}${NO:+x}", "x"), ("${A+x}${EMPTY+x}${NO+x}", "xx"), ("${A:?x}${EMPTY?x}", "abcabc"),
    ("${NO:-${NONE:-$A}}", "abcabc"), ("${NO:-a\\}b}", "a}b"), ("${NO:-'}'}", "}"), ('${NO:-"a b"}', "a b"),
    ("${PATH#/}", "usr/local/bin"), ("${PATH#*/}", "usr/local/bin"), ("${PATH##*/}", "bin"),
    ("${PATH%/*}", "/usr/local"),
    ("${PATH%%/*}", ""), ("${PATH%n}", "/usr/local/bi"), ("${A#x}", "abcabc"), ("${A#?}", "bcabc"), ("${A%%b*}", "a"),
    ("${A%b*}", "abca"), ("${A#$A}", ""), ("${PATH##/*/}", "bin"), ("${NO#x}", ""),
    ("${A/b/X}", "aXcabc"), ("${A//b/X}", "aXcaXc"), ("${A//b/}", "acac"), ("${A/b*/X}", "aX"), ("${A//?/x}", "xxxxxx"),
    ("${PATH//\\//_}", "_usr_local_bin"), ("${A/x/y}", "abcabc"), ("${A/#/x}", "abcabc"), ("${A//bc/$1}", "aoneaone"),
    ("${A//*/x}", "x"), ("${EMPTY//*/x}", "x"), ("${A//c/\\}}", "ab\\}ab\\}"),
    ("'$A' \"$A\" \\$A", "$A abcabc $A"), ("\"a\\\"b\\$c\\\\d\\e\"", 'a"b$c\\d\\e'), ("a\\ b\\", "a b"), ("$", "$"),
    ("$ x", "$ x"),
    ("$$", ""), ("é$Aé", "é"), ("${A}é", "abcabcé"), ("", ""),
])
def test_a_text_is_one_word_with_its_variables_replaced(text, expected):
    assert lexing.expand(text, VARIABLES) == expected


@pytest.mark.parametrize(("text", "expected"), [
    ("$TWO", ["x", "y"]), ("a$TWO", ["ax", "y"]), ("${TWO}b c", ["x", "yb", "c"]), ('"$TWO"', ["x y"]),
    ("$NO $EMPTY", []),
    ("a\\ b c", ["a b", "c"]), ("'a b'c", ["a bc"]), ("''", []), ("a\t\n b", ["a", "b"]),
])
def test_blanks_divide_words_also_those_that_variables_hold(text, expected):
    assert lexing.split(text, VARIABLES) == expected


def test_the_escape_character_may_be_another_one():
    assert lexing.expand("C:\\x`$A `` \"`\"\"", VARIABLES, "`") == 'C:\\x$A ` "'


@pytest.mark.parametrize(("text", "message"), [
    ("'a", "unexpected end of statement while looking for matching single-quote in \"'a\""),
    ('"a', "unexpected end of statement while looking for matching double-quote in '\"a'"),
    ("${", "syntax error: missing '}' in '${'"), ("${}", "syntax error: bad substitution in '${}'"),
    ("${A", "syntax error: missing '}' in '${A'"), ("${A:-", "syntax error: missing '}' in '${A:-'"),
    ("${A.b}", "unsupported modifier (.) in substitution"), ("${A:=b}", "unsupported modifier (:=) in substitution"),
    ("${A/b}", "syntax error: missing '/' in '${A/b}'"),
    ("${A#\\a}", "invalid pattern (\\a) in substitution: invalid escape '\\a'"),
    ("${NO:?}", "NO: is not allowed to be unset"), ("${EMPTY:?}", "EMPTY: is not allowed to be empty"),
    ("${NO?so}", "NO: so"),
    ("${x:-" * 30 + "}" * 30, "variables are nested too deeply"),
])
def test_what_does_not_end_or_is_no_modifier_is_refused(text, message):
    with pytest.raises(InvalidArgument) as caught:
        lexing.expand(text, VARIABLES)
    assert caught.value.message == message


def test_which_variables_were_there_and_which_were_not_is_told():
    found = Lexer().read("$A ${B:-x} ${C} ${A:+$D} '$E' ${1//$F/}", VARIABLES)
    assert set(found.used) == {"A", "1"}
    assert set(found.missing) == {"C", "D", "F"}


def test_in_a_document_quotes_mean_nothing_and_backslashes_do():
    assert lexing.document("a='$A' \"\\$A\"\n it's\n", VARIABLES) == "a='abcabc' \"$A\"\n it's\n"


def test_variables_that_hold_one_another_grow_only_so_far():
    held = {"A": "x" * words.LONGEST}
    with pytest.raises(InvalidArgument, match="longer than"):
        lexing.expand("$A$A", held)
    with pytest.raises(InvalidArgument, match="too much in all"):
        lexing.expand('"' + "$A" * 100 + '"', held)
    with pytest.raises(InvalidArgument, match="too long"):
        lexing.expand("${A//x/yy}", held)


@given(st.text("ab${}:-+?#%/*'\"\\ =\n", max_size=60), st.booleans(), st.booleans())
def test_any_text_is_words_or_refused(text, quotes, keep):
    for lexer in (Lexer(quotes=quotes, keep_unset=keep), Lexer("`", raw_quotes=True, raw_escapes=True)):
        try:
            lexer.read(text, {"a": "x y", "b": ""})
        except InvalidArgument:
            continue


@given(st.lists(st.text(min_size=1, max_size=8), max_size=5))
def test_words_in_double_quotes_come_back(plain):
    quoted = " ".join('"' + re.sub(r'(["\\$])', r"\\\1", word) + '"' for word in plain)
    assert lexing.split(quoted, {}) == plain


@given(st.text("ab*?\n", max_size=8), st.text("ab\n", max_size=12))
def test_patterns_match_as_regular_expressions_do(text, value):
    wanted = patterns.pattern(text)
    parts = [{"*": ".*", "?": "."}.get(char, char) for char in text]
    ends = [end for end in range(len(value) + 1) if re.fullmatch("".join(parts), value[:end])]
    assert list(wanted.ends(value, 0)) == ends
    assert wanted.starts(value) == [
        any(re.fullmatch("".join(parts), value[at:end]) for end in range(at, len(value) + 1))
        for at in range(len(value) + 1)
    ]
    longest = re.match("".join(parts), value)
    assert patterns.without_prefix(value, wanted, longest=True) == (value[longest.end():] if longest else value)


@given(st.text("ab*?", min_size=1, max_size=6).filter(lambda text: text.strip("*")), st.text("ab", max_size=12))
def test_every_match_is_replaced(text, value):
    parts = "".join({"*": ".*", "?": "."}.get(char, char) for char in text)
    found = patterns.replaced(value, patterns.pattern(text), "_", everywhere=True, most=100)
    assert found == re.sub(parts, "_", value)


def test_a_pattern_with_many_stars_takes_no_longer_than_its_length_times_the_texts():
    value = "a" * 20_000
    assert lexing.expand("${A/" + "*a" * 200 + "b/x}", {"A": value}) == value
    assert lexing.expand("${A##" + "*a" * 200 + "b}", {"A": value}) == value
    with pytest.raises(InvalidArgument, match="longer than 1024"):
        lexing.expand("${A#" + "?" * 2000 + "}", {"A": value})
