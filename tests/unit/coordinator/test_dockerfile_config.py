"""Instructions that change an image's config, and the words that they are made of."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import InvalidArgument
from coordinator.dockerfile import config
from tests.unit.coordinator import lexing

WORD = st.text("ab1 '\"\\$-=/.", max_size=12)


@pytest.mark.parametrize(("text", "expected"), [
    ("a b", ["a", "b"]),
    ("  a\t'b c' \"d e\"f ", ["a", "b c", "d ef"]),
    (r"a\ b \$x \'", ["a b", "$x", "'"]),
    ("$WHO ${WHO}s '$WHO' \"$WHO\" $", ["me", "mes", "$WHO", "me", "$"]),
    ("${NO:-x y}z", ["x", "yz"]),
    ("${NO-x}${EMPTY-x}${EMPTY:-x}${WHO:-x}", ["xxme"]),
    ("${NO:+x}${WHO:+y}${EMPTY+z}", ["yz"]),
    ("${NO:-${WHO:-a}}", ["me"]),
    ('"a\\"b\\c"', ['a"b\\c']),
    ("", []),
])
def test_words_are_split_and_variables_replaced(text, expected):
    assert lexing.split(text, {"WHO": "me", "EMPTY": ""}) == expected


@pytest.mark.parametrize("text", ["'a", '"a', "${", "${a", "${a:x}", "${a:?}", "${!}x${"])
def test_a_text_that_does_not_end_is_refused(text):
    with pytest.raises(InvalidArgument):
        lexing.split(text, {})


@given(st.lists(st.text(min_size=0, max_size=8), max_size=5))
def test_what_a_shell_would_quote_comes_back(given_words):
    plain = [word for word in given_words if word and "'" not in word]
    assert lexing.split(" ".join(f"'{word}'" for word in plain), {}) == plain
    safe = [word for word in plain if word.isascii() and word.isalnum()]
    assert lexing.split(shlex.join(safe), {}) == safe


@given(st.text("ab${}:-+?'\"\\ =", max_size=40))
def test_any_text_is_words_or_refused(text):
    for read in (lexing.split, lexing.expand):
        try:
            read(text, {"a": "x y", "b": ""})
        except InvalidArgument:
            continue


def test_braces_nested_without_end_are_refused():
    with pytest.raises(InvalidArgument, match="nested"):
        lexing.expand("${x:-" * 200 + "a" + "}" * 200, {})


def applied(*instructions, **before):
    return config.apply(before, instructions)


def test_each_instruction_sets_its_field():
    made = applied(
        "ENV A=1 B='two words'", "env C three words", 'CMD ["a", "b"]', "EXPOSE 80 53/udp 7000-7001", "LABEL x=y",
        "USER app", "WORKDIR /srv", "WORKDIR $A", "VOLUME /d /e", "STOPSIGNAL SIGINT", "ONBUILD RUN true",
    )
    assert made == {
        "Env": ["A=1", "B=two words", "C=three words"], "Cmd": ["a", "b"],
        "ExposedPorts": {"80/tcp": {}, "53/udp": {}, "7000/tcp": {}, "7001/tcp": {}}, "Labels": {"x": "y"},
        "User": "app", "WorkingDir": "/srv/1", "Volumes": {"/d": {}, "/e": {}}, "StopSignal": "SIGINT",
        "OnBuild": ["RUN true"],
    }


def test_a_command_without_brackets_is_the_shells():
    assert applied("CMD echo $HOME")["Cmd"] == ["/bin/sh", "-c", "echo $HOME"]
    assert applied("ENTRYPOINT top -b", Shell=["/bin/bash", "-ec"])["Entrypoint"] == ["/bin/bash", "-ec", "top -b"]


def test_another_entrypoint_takes_the_images_arguments_away_unless_they_are_given_too():
    assert applied('ENTRYPOINT ["e"]', Cmd=["old"]) == {"Entrypoint": ["e"]}
    assert applied("CMD [\"c\"]", 'ENTRYPOINT ["e"]', Cmd=["old"]) == {"Entrypoint": ["e"], "Cmd": ["c"]}


def test_a_later_value_takes_the_place_of_an_earlier_one_in_its_place():
    assert applied("ENV A=3", "ENV D=$A", Env=["A=1", "B=2"])["Env"] == ["A=3", "B=2", "D=3"]


@pytest.mark.parametrize(("text", "expected"), [
    ("NONE", {"Test": ["NONE"]}),
    ("--timeout=1m30s --start-interval=100ms CMD [\"x\"]",
     {"Test": ["CMD", "x"], "Timeout": 90 * 10**9, "StartInterval": 10**8}),
    ("--retries=3 CMD curl -f localhost", {"Test": ["CMD-SHELL", "curl -f localhost"], "Retries": 3}),
])
def test_health_checks(text, expected):
    assert applied(f"HEALTHCHECK {text}")["Healthcheck"] == expected


@pytest.mark.parametrize("text", [
    "RUN true", "FROM x", "COPY a b", "CMD", "nonsense", "", "EXPOSE 0", "EXPOSE 9-1", "EXPOSE 80/icmp", "LABEL a",
    "ENV =x", "HEALTHCHECK --bad=1 CMD x", "HEALTHCHECK CMD", "HEALTHCHECK RUN x", "HEALTHCHECK --timeout=x CMD y",
    f"HEALTHCHECK --timeout={'9' * 400}h CMD x", "ONBUILD ONBUILD RUN x", "ONBUILD FROM x", 'VOLUME [""]',
    "STOPSIGNAL SIGNONE", "STOPSIGNAL 65", "EXPOSE 80 " + " ".join(map(str, range(1, 1100))),
])
def test_what_is_no_change_is_refused(text):
    with pytest.raises(InvalidArgument):
        applied(text)


@given(st.sampled_from(["ENV", "LABEL", "EXPOSE", "CMD", "HEALTHCHECK", "VOLUME", "USER"]), WORD)
def test_any_instruction_is_carried_out_or_refused(name, text):
    try:
        made = applied(f"{name} {text}")
    except InvalidArgument:
        return
    assert isinstance(made, dict)


def test_brackets_nested_too_deeply_are_a_command_of_the_shell():
    assert applied("CMD " + "[" * 100_000)["Cmd"][:2] == ["/bin/sh", "-c"]


def test_the_config_that_was_given_is_not_changed():
    before = {"Env": ["A=1"], "Labels": {"a": "b"}}
    applied("ENV A=2", "LABEL a=c", **before)
    assert before == {"Env": ["A=1"], "Labels": {"a": "b"}}
