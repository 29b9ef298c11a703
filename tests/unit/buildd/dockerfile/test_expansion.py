"""An instruction's variables, replaced."""

import pytest

from buildd.dockerfile.expansion import expand
from buildd.dockerfile.parser import parse
from chassis.errors import InvalidArgument

VARIABLES = {"A": "a b", "D": "/d", "N": "7", "Q": "x'y"}


def expanded(*lines, escape="\\"):
    (stage,) = parse("\n".join(["FROM x", *lines]).encode()).stages
    (step,) = stage.steps
    return expand(step, VARIABLES, escape)


@pytest.mark.parametrize(("line", "field", "expected"), [
    ("ENV X=$A Y='$A' $N=\"$Q\"", "entries", (("X", "a b"), ("Y", "$A"), ("7", "x'y"))),
    ("ENV X $A 'b'", "entries", (("X", "a b b"),)), ("LABEL $D=${N}x", "entries", (("/d", "7x"),)),
    ("ARG X=$A Y=$X Z", "entries", (("X", "a b"), ("Y", "a b"), ("Z", None))), ("USER $N:$N", "user", "7:7"),
    ("WORKDIR $D/e", "path", "/d/e"), ("STOPSIGNAL $N", "signal", "7"), ("VOLUME $D $A", "paths", ("/d", "a b")),
    ('VOLUME ["$D"]', "paths", ("/d",)), ("EXPOSE $N/udp $A", "ports", ("a", "b", "7/udp")),
    ("COPY $A x $D", "sources", ("a b", "x")), ("COPY --chown=$N --chmod=$N x $D", "chown", "7"),
    ("COPY --exclude=$D/* x y", "exclude", ("/d/*",)), ("COPY x $D", "target", "/d"),
    ("ADD --checksum=sha256:$N http://x/$N y", "checksum", "sha256:7"),
])
def test_words_are_replaced(line, field, expected):
    assert getattr(expanded(line).instruction, field) == expected


@pytest.mark.parametrize("line", [
    "RUN echo $A", "CMD echo $A", 'ENTRYPOINT ["$A"]', "HEALTHCHECK CMD $A", "ONBUILD RUN $A", 'SHELL ["$A"]',
    "MAINTAINER $A", "COPY <<'E' /x\n$A\nE",
])
def test_what_a_shell_or_a_later_build_reads_stays(line):
    found = expanded(*line.split("\n"))
    assert (found.used, found.missing) == (frozenset(), frozenset())


def test_a_heredoc_keeps_its_quotes_and_loses_its_variables():
    step = expanded("COPY <<E /x", "'$A' \"\\$A\" it's", "E").instruction
    assert step.heredocs[0].text == "'a b' \"$A\" it's\n"


def test_a_heredoc_of_a_command_is_the_shells():
    assert expanded("RUN <<E", "$A", "E").instruction.heredocs[0].text == "$A\n"


def test_mounts_are_read_with_their_variables():
    step = expanded("RUN --mount=type=cache,target=$D/x,uid=$N,id=${A} y").instruction
    (mount,) = step.mounts
    assert (mount.target, mount.uid, mount.id) == ("/d/x", 7, "a b")
    with pytest.raises(InvalidArgument, match="invalid value a b for uid"):
        expanded("RUN --mount=type=cache,target=/x,uid=$A y")


def test_which_variables_are_used_and_missing_is_told():
    found = expanded("COPY $A ${B:-x} $C $D")
    assert set(found.used) == {"A", "D"}
    assert set(found.missing) == {"C"}
