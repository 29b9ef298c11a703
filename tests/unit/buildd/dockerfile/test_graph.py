"""Which stages a target needs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildd.dockerfile import arguments
from buildd.dockerfile.graph import Source, needed, triggers
from buildd.dockerfile.instructions import Location
from buildd.dockerfile.parser import parse
from chassis.errors import InvalidArgument

PLATFORMS = {"BUILDPLATFORM": "linux/amd64", "TARGETPLATFORM": "linux/arm64", "TARGETARCH": "arm64"}


def graph(*lines, **options):
    return needed(parse("\n".join(lines).encode()), **options)


def refused(*lines, **options):
    with pytest.raises(InvalidArgument) as caught:
        graph(*lines, **options)
    return caught.value


STAGES = (
    "FROM a AS base", "FROM base AS one", "FROM b AS two", "COPY --from=0 x y", "FROM scratch",
    "COPY --from=one x y", "RUN --mount=from=c,target=/c x",
)


@pytest.mark.parametrize(("target", "expected"), [
    ("", [0, 1, 3]), ("base", [0]), ("one", [0, 1]), ("Two", [0, 2]), ("2", [0, 2]), ("3", [0, 1, 3]),
])
def test_a_target_needs_what_it_is_built_on_and_copies_from(target, expected):
    assert list(graph(*STAGES, target=target).nodes) == expected


def test_what_no_stage_is_called_is_an_image():
    found = graph(*STAGES)
    assert found.nodes[0].base == Source(None, "a")
    assert found.nodes[1].base == Source(0)
    assert found.source("ONE", 3, Location(1, 1)) == Source(1)
    assert found.source("c", 3, Location(1, 1)) == Source(None, "c")


def test_a_named_context_comes_before_a_stage():
    found = graph(*STAGES, contexts={"one", "a"})
    assert list(found.nodes) == [3]
    assert found.source("one", 3, Location(1, 1)) == Source(None, "one")
    assert graph("FROM A", contexts={"a"}).nodes[0].base == Source(None, "A")


@pytest.mark.parametrize(("target", "message"), [
    ("bse", 'target stage "bse" could not be found (did you mean base?)'),
    ("9", 'target stage "9" could not be found'), ("-1", 'target stage "-1" could not be found'),
])
def test_a_target_that_is_not_there_is_refused(target, message):
    error = refused(*STAGES, target=target)
    assert (error.message, error.field) == (message, "target")


@pytest.mark.parametrize(("lines", "message"), [
    (["FROM a AS x", "COPY --from=x . ."], "line 2: circular dependency detected on stage: x"),
    (["FROM a AS x", "COPY --from=y . .", "FROM x AS y"], "line 3: circular dependency detected on stage: x"),
    (["FROM a", "COPY --from=y . .", "FROM b AS y", "FROM 0", "COPY --from=0 . ."],
     'line 2: cannot copy from stage "y", it needs to be defined before current stage "stage-0"'),
    (["FROM a", "RUN --mount=from=1,target=/x y", "FROM b", "FROM c", "COPY --from=0 . ."],
     'line 2: cannot copy from stage "stage-1", it needs to be defined before current stage "stage-0"'),
    (["FROM a", "COPY --from=1 . ."], "line 2: invalid stage index 1"),
    (["FROM a", "COPY --from=-1 . ."], "line 2: invalid stage index -1"),
    (["FROM " + "a" * 2000], f"line 1: base name ({'a' * 80}…) is longer than 1024 characters"),
    (["FROM $X"], "line 1: base name ($X) should not be blank"),
    (["FROM --platform=$BULIDPLATFORM a"],
     "line 1: empty platform value from expression $BULIDPLATFORM (did you mean BUILDPLATFORM?)"),
    (["FROM --platform=a//b a"], "line 1: failed to parse platform a//b: 'a//b' is not OS/ARCH/VARIANT"),
    (["ARG X=${Y:?missing}", "FROM a"], "line 1: Y: missing"),
])
def test_a_stage_takes_only_from_those_before_it(lines, message):
    assert refused(*lines).message == f"dockerfile parse error on {message}"


def test_the_last_stage_of_a_name_before_counts():
    found = graph("FROM a AS x", "FROM x AS x", "COPY --from=x . .", "FROM b AS x", "FROM x", target="1")
    assert found.nodes[1].base == Source(0)
    assert found.source("x", 1, Location(1, 1)) == Source(0)


def test_from_sees_arguments_before_it_their_defaults_and_the_platforms():
    lines = ("ARG A=1", "ARG B=${A}2 C", "FROM --platform=$TARGETPLATFORM i:$A-$B$C")
    assert graph(*lines, platforms=PLATFORMS).nodes[0].base.image == "i:1-12"
    found = graph(*lines, given={"A": "x", "C": "c", "TARGETPLATFORM": "linux/s390x"}, platforms=PLATFORMS)
    assert (found.nodes[0].base.image, found.nodes[0].platform) == ("i:x-x2c", "linux/s390x")
    assert found.arguments["B"] == "x2"


def test_the_targets_name_is_an_argument():
    assert graph("FROM a AS x", "FROM b").arguments["TARGETSTAGE"] == "default"
    assert graph("FROM a AS x", "FROM b", target="x").arguments["TARGETSTAGE"] == "x"
    assert arguments.predefined({}, {}, "")["BUILDVARIANT"] == ""


def test_a_stage_has_its_bases_platform():
    found = graph("FROM --platform=linux/arm64 a AS x", "FROM x")
    assert found.nodes[1].platform == "linux/arm64"


def test_the_triggers_of_a_stage_come_first_in_those_built_on_it():
    found = graph("FROM a AS x", "FROM b AS y", "ONBUILD COPY --from=x . .", "ONBUILD RUN <<E", "hi", "E", "FROM y",
                  "RUN last")
    assert list(found.nodes) == [0, 1, 2]
    assert [step.original for step in found.nodes[2].steps] == ["COPY --from=x . .", "RUN <<E", "RUN last"]
    assert found.nodes[2].steps[0].location == Location(7, 7)


def test_the_triggers_of_an_image_become_instructions_at_the_from():
    (copy, run) = triggers(["COPY <<E /x\na\nE", "RUN y"], Location(5, 5))
    assert (copy.location, run.location, run.original) == (Location(5, 5), Location(5, 5), "RUN y")
    for text in ("FROM x", "MAINTAINER x", "ONBUILD ONBUILD RUN x", "RUN a\nRUN b", "", "nonsense"):
        with pytest.raises(InvalidArgument, match="line 5"):
            triggers([text], Location(5, 5))
    with pytest.raises(InvalidArgument, match="more than 1000"):
        triggers(["RUN x"] * 1001, Location(1, 1))


def test_triggers_do_not_multiply_without_end():
    lines = ["FROM a AS x", *["ONBUILD RUN x"] * 900, *["FROM x"] * 30]
    assert "more than 20000" in refused(*lines).message


def test_a_chain_of_many_stages_is_followed():
    lines = ["FROM a AS s0", *(f"FROM s{number - 1} AS s{number}" for number in range(1, 5000))]
    assert len(graph(*lines).nodes) == 5000


@given(st.lists(st.tuples(st.sampled_from("abc"), st.lists(st.sampled_from("abc012"), max_size=3)),
                min_size=1, max_size=5))
def test_any_graph_is_known_in_an_order_that_can_be_built_or_refused(stages):
    lines = [
        line for index, (base, froms) in enumerate(stages)
        for line in (f"FROM {base} AS {'abcde'[index]}", *(f"COPY --from={name} . ." for name in froms))
    ]
    try:
        found = graph(*lines)
    except InvalidArgument:
        return
    for index, node in found.nodes.items():
        sources = [node.base, *(found.source(name, index, Location(1, 1)) for name in stages[index][1])]
        assert all(source.stage is None or source.stage < index for source in sources)
        assert all(source.stage in found.nodes for source in sources if source.stage is not None)


def test_build_arguments_that_nothing_declares_are_found():
    given = ["OUTSIDE", "INSIDE", "ELSEWHERE", "http_proxy", "TARGETARCH", "SOURCE_DATE_EPOCH", "BUILDKIT_X", "B", "A"]
    text = b"ARG OUTSIDE\nFROM a\nARG INSIDE=1\nFROM b\nARG ELSEWHERE\n"
    assert arguments.unconsumed(parse(text), given) == ["A", "B"]
