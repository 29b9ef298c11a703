"""Texts within the file."""

import pytest

from buildd.dockerfile import heredocs
from buildd.dockerfile.heredocs import Start
from buildd.dockerfile.instructions import Command, Heredoc
from buildd.dockerfile.parser import parse


def only(text):
    (stage,) = parse(b"FROM a\n" + text.encode()).stages
    (step,) = stage.steps
    return step


@pytest.mark.parametrize(("word", "expected"), [
    ("<<EOF", Start("EOF", False, False)), ("<<-EOF", Start("EOF", False, True)),
    ("<<'EOF'", Start("EOF", True, False)),
    ('<<"E F"', Start("E F", True, False)), ("3<<EOF", Start("EOF", False, False)),
    ("<<E'O'F", Start("EOF", True, False)),
    ("<<EOF;", Start("EOF;", False, False)), ("<<", None), ("<<-", None), ("<<<EOF", None), ("a<<EOF", None),
    ("<<a<b", None), ("<EOF", None),
])
def test_a_word_begins_a_heredoc_as_in_a_shell(word, expected):
    assert heredocs.start(word) == expected


def test_a_run_of_one_heredoc_is_that_text():
    step = only("RUN <<EOF\n#!/bin/sh\n echo $A\nEOF\n")
    assert step.heredoc_only
    assert step.heredocs == (Heredoc("EOF", "#!/bin/sh\n echo $A\n", False, "#!/bin/sh\n echo $A\n"),)
    assert (step.location.first, step.location.last) == (2, 5)


def test_several_heredocs_follow_one_another_and_the_shell_gets_the_line():
    step = only("RUN cat <<A <<-'B' > /x && y\n1\nA\n\t2\n\tB\n")
    assert not step.heredoc_only
    assert step.command == Command(None, "cat <<A <<-'B' > /x && y")
    assert step.heredocs == (Heredoc("A", "1\n", False, "1\n"), Heredoc("B", "2\n", True, "\t2\n"))


def test_copy_takes_heredocs_beside_paths():
    step = only("COPY a <<x <<'y' /d/\n1\nx\n2\r\ny\n")
    assert (step.sources, step.target) == (("a",), "/d/")
    assert [(found.name, found.text, found.literal) for found in step.heredocs] == [
        ("x", "1\n", False), ("y", "2\r\n", True),
    ]


def test_an_empty_heredoc_is_empty():
    assert only("COPY <<x /d\nx\n").heredocs == (Heredoc("x", "", False, ""),)


@pytest.mark.parametrize("line", [
    'CMD cat <<EOF', 'RUN ["cat", "<<EOF"]', "RUN echo '<<EOF'", 'RUN echo "a <<EOF"', "RUN echo \\<<EOF",
    "RUN cat <<<EOF",
    "RUN echo $((1<<2))", "RUN echo it's <<EOF", "ENV A=<<EOF",
])
def test_what_only_looks_like_a_heredoc_is_none(line):
    assert not getattr(only(f"{line}\n"), "heredocs", ())


def test_a_pattern_of_the_shells_own_does_not_hide_a_heredoc():
    assert only("RUN cat <<EOF > ${x//\\-/_}\na\nEOF\n").heredocs[0].text == "a\n"
    assert only("RUN cat <<EOF > ${x:=y}\na\nEOF\n").heredocs[0].text == "a\n"


def test_a_line_that_continues_is_a_line_of_the_heredoc():
    assert only("RUN <<EOF\na \\\n# b\n\nEOF\n").heredocs[0].text == "a \\\n# b\n\n"
