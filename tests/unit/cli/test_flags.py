"""Parsing by the tables: docker's grammar, docker's words for what is wrong, and help that lists what there is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pier_cli import help as help_text
from pier_cli.failure import UsageError
from pier_cli.flags import Flag, Help, parse
from pier_cli.main import GLOBAL_FLAGS, load
from pier_cli.table import COMMANDS, COMMON, GROUPS

FLAGS = (
    Flag("all", "a"), Flag("interactive", "i"), Flag("tty", "t"), Flag("env", "e", "list"), Flag("name", "", "string"),
    Flag("memory", "m", "bytes"), Flag("last", "n", "int", default=-1), Flag("filter", "f", "filter"),
    Flag("subnet", "", "strings"),
)


def test_every_spelling_of_a_value() -> None:
    options, rest = parse(FLAGS, ["-e", "A=1", "-eB=2", "-e=C=3", "--env", "D=4", "--env=E=5", "x"])
    assert options.items("env") == ["A=1", "B=2", "C=3", "D=4", "E=5"]
    assert rest == ["x"]


def test_joined_short_booleans_and_a_value_after_them() -> None:
    options, _ = parse(FLAGS, ["-itm64m"])
    assert options.flag("interactive")
    assert options.flag("tty")
    assert options.number("memory") == 64 << 20


def test_a_boolean_takes_a_value_after_an_equals_sign_only() -> None:
    options, rest = parse(FLAGS, ["--all=false", "-i=0", "--tty", "false"])
    assert (options.flag("all"), options.flag("interactive"), options.flag("tty")) == (False, False, True)
    assert rest == ["false"]
    assert options.given("all")
    assert not options.given("name")


def test_flags_end_at_the_first_argument_where_they_must() -> None:
    options, rest = parse(FLAGS, ["-i", "image", "ls", "-a", "--", "x"], interspersed=False)
    assert not options.flag("all")
    assert rest == ["image", "ls", "-a", "--", "x"]


def test_two_dashes_end_the_flags() -> None:
    options, rest = parse(FLAGS, ["a", "--", "-i", "--all"])
    assert rest == ["a", "-i", "--all"]
    assert not options.flag("interactive")


def test_values_between_commas() -> None:
    options, _ = parse(FLAGS, ["--subnet", "a,b", "--subnet=c"])
    assert options.items("subnet") == ["a", "b", "c"]


@pytest.mark.parametrize(("words", "message"), [
    (["--foo"], "unknown flag: --foo"),
    (["--foo=1"], "unknown flag: --foo"),
    (["-z", "x"], "unknown shorthand flag: 'z' in -z"),
    (["-iz"], "unknown shorthand flag: 'z' in -iz"),
    (["--name"], "flag needs an argument: --name"),
    (["-ie"], "flag needs an argument: 'e' in -ie"),
    (["-m", "x"], "invalid argument \"x\" for \"-m, --memory\" flag: invalid size: 'x'"),
    (["-n", "x"], 'invalid argument "x" for "-n, --last" flag: strconv.ParseInt: parsing "x": invalid syntax'),
    (["--all=3"], 'invalid argument "3" for "-a, --all" flag: strconv.ParseBool: parsing "3": invalid syntax'),
    (["-f", "foo"], 'invalid argument "foo" for "-f, --filter" flag: bad format of filter (expected name=value)'),
    (["--=x"], "bad flag syntax: --=x"),
])
def test_what_is_wrong_is_told_in_dockers_words(words: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(FLAGS, words)
    assert caught.value.message == message


@pytest.mark.parametrize("words", [["--help"], ["-i", "--help"], ["-h"]])
def test_help_is_asked_for(words: list[str]) -> None:
    with pytest.raises(Help):
        parse(FLAGS, words, help_short=True)


@given(st.lists(st.text(max_size=8), max_size=6))
def test_any_words_are_parsed_or_refused(words: list[str]) -> None:
    try:
        _, rest = parse(FLAGS, words)
    except (UsageError, Help):
        return
    assert all(word in words for word in rest)


@pytest.mark.parametrize("words", sorted(COMMANDS))
def test_every_command_of_the_table_exists_and_has_help(words: str) -> None:
    command = load(words)
    text = help_text.command(words, command)
    assert text.startswith(f"Usage:  pier {words}")
    for flag in command.flags:
        assert f"--{flag.long}" in text
        assert flag.help
    assert len({flag.long for flag in command.flags}) == len(command.flags)
    shorts = [flag.short for flag in command.flags if flag.short]
    assert len(set(shorts)) == len(shorts)
    assert command.most < 0 or command.least <= command.most


def test_the_lists_name_every_command_with_a_summary() -> None:
    text = help_text.top(GLOBAL_FLAGS)
    for words, (_, summary) in COMMANDS.items():
        if " " not in words:
            assert f"  {words} " in text
        elif summary:
            group, name = words.split(" ")
            assert f"  {name} " in help_text.group(group)
    assert set(COMMON) <= set(COMMANDS)
    assert {words.split(" ")[0] for words in COMMANDS if " " in words} == set(GROUPS)


def test_spellings_of_one_command_are_named_as_aliases() -> None:
    text = help_text.command("ps", load("ps"))
    assert "  pier container ls, pier container list, pier container ps, pier ps\n" in text
