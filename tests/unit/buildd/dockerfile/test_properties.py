"""What holds for any bytes: they are a Dockerfile or are refused, in time and memory that grow as they do."""

import sys
import tracemalloc

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from buildd.dockerfile import checks, rules
from buildd.dockerfile.expansion import expand
from buildd.dockerfile.graph import needed
from buildd.dockerfile.parser import parse
from chassis.errors import InvalidArgument, Unimplemented

KEYWORDS = (
    "ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER", "ONBUILD",
    "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
)
PIECES = st.sampled_from([
    *(f"{word} " for word in KEYWORDS), "FROM a AS b", "\n", "\r\n", "\\\n", "`\n", "#", "# escape=`\n", "# check=",
    "--", "--from=b", "--mount=", "type=cache,target=/x", "$A", "${A:-", "}", "${A//", "/", "'", '"', "[", "]", '["a"]',
    "<<E", "<<-'E'", "E\n", "=", "A=1", " ", "\t", ",", "CMD", "NONE", "80/tcp", "\0", "é", "\u2028",
])
TEXTS = st.lists(PIECES, max_size=40).map("".join)


def carried_as_far_as_it_goes(source):
    """Everything that is done with a file before anything is built."""
    dockerfile = parse(source)
    graph = needed(dockerfile)
    checks.check(dockerfile, graph, rules.options(dockerfile.directives.get("check", "")))
    for node in graph.nodes.values():
        for step in node.steps:
            expand(step, {"A": "x y"}, dockerfile.escape)


@given(st.one_of(st.binary(max_size=200), TEXTS.map(str.encode), TEXTS.map(lambda text: f"FROM a\n{text}".encode())))
@example(b"FROM a\nRUN <<")
@example(b"FROM a\nCOPY <<-\\ x\n")
@settings(max_examples=400)
def test_44_any_bytes_are_a_dockerfile_or_refused(source):
    try:
        carried_as_far_as_it_goes(source)
    except (InvalidArgument, Unimplemented):
        return


@given(TEXTS)
def test_lines_of_instructions_follow_one_another(text):
    try:
        dockerfile = parse(f"FROM a\n{text}".encode())
    except (InvalidArgument, Unimplemented):
        return
    last = 0
    for stage in dockerfile.stages:
        for instruction in (stage.base, *stage.steps):
            assert last < instruction.location.first <= instruction.location.last
            last = instruction.location.last
            assert instruction.original == instruction.original.strip()


@given(st.lists(st.sampled_from(["RUN a \\\n b", "ENV a=b", "COPY <<E /\nx\nE", "# c", "", "FROM x AS y"]), max_size=8))
def test_carriage_returns_change_no_instruction(lines):
    text = "FROM a\n" + "\n".join(lines) + "\n"
    one, other = parse(text.encode()), parse(text.replace("\n", "\r\n").encode())
    strip = [[(step.original, step.location) for step in stage.steps] for stage in one.stages]
    assert strip == [[(step.original, step.location) for step in stage.steps] for stage in other.stages]


def cost(source):
    """How many lines of ours run until the file is read, and checked."""
    count = 0

    def trace(frame, event, _):
        nonlocal count
        count += event == "line"
        return trace if "dockerfile" in frame.f_code.co_filename else None

    sys.settrace(trace)
    try:
        carried_as_far_as_it_goes(source)
    except InvalidArgument:
        pass
    finally:
        sys.settrace(None)
    return count


@pytest.mark.parametrize("part", [
    "RUN a\n", "RUN a \\\n", "# c\n", "\n", "FROM a AS b\n", "FROM b AS b\nCOPY --from=b a b\n",
    "COPY <<E /x\na\nE\n", "ENV A=$A$B\n",
    "COPY --exclude=a b c\n", "ARG A=1 B\n", "ONBUILD RUN x\n", "RUN --mount=target=/x y\n", "LABEL a='b' c=\"d\"\n",
    "copy $x y\nRUN y\n", "EXPOSE 80-90 ${A:-1}\n", "CMD x\n", "x",
])
def test_twice_the_input_takes_at_most_about_twice_the_steps(part):
    once, twice = (cost(("FROM a\n" + part * count).encode()) for count in (150, 300))
    assert twice < 2.3 * once + 200


@pytest.mark.parametrize("line", [
    "RUN --mount=target=/x " + "--exclude=a " * 500,
    "COPY " + "--exclude=a " * 500 + "b c", "COPY " + "$A " * 500,
    "ENV " + "A=$A " * 500, "CMD [" + '"a",' * 500 + '"a"]', "RUN " + "<<E " * 500,
    "ENV A=" + "${A:-" * 500 + "}" * 500,
    "RUN echo " + "'<<E' " * 500, "LABEL a=" + "\\\"" * 500, "EXPOSE " + "1-60000 " * 500, "ENV A='" + "x" * 5000,
    "ENV A=${A//" + "*" * 500 + "/}",
])
def test_a_line_of_twice_the_length_takes_at_most_about_twice_the_steps(line):
    head, _, tail = line.partition(" ")
    once, twice = (cost(f"FROM a\n{head} {text}\n".encode()) for text in (tail, tail + " " + tail))
    assert twice < 2.3 * once + 200


def test_a_large_file_is_read_in_memory_that_is_a_few_times_its_size():
    source = b"FROM a\nRUN a" + b" \\\n  # c\n && b" * 40_000
    tracemalloc.start()
    try:
        parse(source)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 30 * len(source)
