"""The variables of a stage."""

import pytest

from buildd.dockerfile.instructions import Instruction
from buildd.dockerfile.parser import parse
from buildd.scope import Scope
from chassis.errors import InvalidArgument
from coordinator.dockerfile.words import Work


def only(line: str) -> Instruction:
    (stage,) = parse(f"FROM x\n{line}\n".encode()).stages
    (step,) = stage.steps
    return step


def declared(scope: Scope, line: str, environment: dict[str, str] | None = None) -> dict[str, str]:
    step = scope.read(only(line), environment or {})
    scope.declare(step)  # type: ignore[arg-type]
    return scope.arguments


def test_an_argument_is_the_clients_value_else_its_default_else_what_is_outside() -> None:
    scope = Scope({"A": "given"}, {"B": "outside", "C": "outside"})
    assert declared(scope, "ARG A=default B C=$A D") == {"A": "given", "B": "outside", "C": "given"}
    assert declared(scope, "ARG C=$A") == {"A": "given", "B": "outside", "C": "given"}


def test_a_default_that_the_client_replaces_is_not_read() -> None:
    line = "ARG A=${MISSING:?needed} B=1"
    assert declared(Scope({"A": "x"}, {}), line) == {"A": "x", "B": "1"}
    with pytest.raises(InvalidArgument, match="line 2: MISSING: needed"):
        Scope({}, {}).read(only(line), {})


def test_the_environment_wins_over_an_argument() -> None:
    scope = Scope({}, {})
    declared(scope, "ARG A=argument")
    step = scope.read(only("USER $A"), {"A": "environment"})
    assert step.user == "environment"  # type: ignore[attr-defined]


def test_what_variables_bring_is_bounded_for_all_stages_together() -> None:
    work = Work(1000)
    one, other = (Scope({"A": "x" * 100}, {}, work=work) for _ in range(2))
    for scope in (one, other):
        declared(scope, "ARG A")
        for _ in range(5):
            scope.read(only("USER $A"), {})
    with pytest.raises(InvalidArgument, match="too much in all"):
        other.read(only("USER $A"), {})
