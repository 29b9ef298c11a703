"""Build checks of a stage's instructions, whose variables are followed from its base on."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from buildd.dockerfile.expansion import Expanded, expand
from buildd.dockerfile.graph import SCRATCH, Graph, Node
from buildd.dockerfile.instructions import (
    Add,
    Arg,
    Cmd,
    Copy,
    Dockerfile,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Instruction,
    Label,
    Shell,
    Workdir,
)
from buildd.dockerfile.rules import Report
from chassis.errors import InvalidArgument
from chassis.spelling import meant
from coordinator.dockerfile import forms
from coordinator.dockerfile.statement import statement
from coordinator.dockerfile.words import Work

_ONCE: Final = (Cmd, Entrypoint, Healthcheck)
_SECRET: Final = re.compile(
    r"(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)", re.IGNORECASE)
_NO_SECRET: Final = re.compile(r"(?:_|^)(?:public|file|version)(?:_|$)", re.IGNORECASE)
_REMOTE: Final = ("http://", "https://", "git://", "git@", "ssh://")
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_VARIABLES_MAX: Final = 1_000_000
"""Variables that are followed in all stages together."""


@dataclass(frozen=True)
class Base:
    """What a base image's config says."""

    environment: Mapping[str, str]
    has_shell: bool = False


@dataclass
class _State:
    """Of a stage, up to an instruction. ``is_known``: its base's variables are all there."""

    variables: dict[str, str]
    is_known: bool
    declared: set[str] = field(default_factory=set)
    has_shell: bool = False
    workdir_set: bool = False

    def copy(self) -> _State:
        return _State(dict(self.variables), self.is_known, set(self.declared), self.has_shell, self.workdir_set)


@dataclass(frozen=True)
class _Checker:
    dockerfile: Dockerfile
    graph: Graph
    given: Mapping[str, str]
    is_ignored: Callable[[str], bool] | None
    report: Report
    work: Work = field(default_factory=Work)


def check(
    dockerfile: Dockerfile, graph: Graph, given: Mapping[str, str], bases: Mapping[str, Base],
    is_ignored: Callable[[str], bool] | None, report: Report,
) -> None:
    """As `checks.check`, for the stages of ``graph``."""
    checker = _Checker(dockerfile, graph, given, is_ignored, report)
    states = dict[int, _State]()
    followed = 0
    for index, node in graph.nodes.items():
        state = states[node.base.stage].copy() if node.base.stage is not None else _first(node, bases)
        states[index] = state
        followed += len(state.variables) + len(state.declared) + len(node.steps)
        if followed > _VARIABLES_MAX or report.is_full:
            return
        _stage(checker, node, state)


def _first(node: Node, bases: Mapping[str, Base]) -> _State:
    image = node.base.image
    base = Base({}) if image == SCRATCH else bases.get(image)
    environment = {"PATH": _PATH, **(base.environment if base else {})}
    return _State(environment, base is not None, has_shell=base is not None and base.has_shell)


def _stage(checker: _Checker, node: Node, state: _State) -> None:
    last = dict[type[Instruction], Instruction]()
    for step in node.steps:
        before = last.get(type(step))
        if before is not None and isinstance(step, _ONCE):
            checker.report.add("MultipleInstructionsDisallowed", before.location, _name(before))
        last[type(step)] = step
        try:
            expanded = _expanded(checker, step, state)
        except InvalidArgument:
            return  # the build says it, with the values that it has
        _undefined(checker, step, expanded, state)
        _step(checker, step, expanded.instruction, state)


def _expanded(checker: _Checker, step: Instruction, state: _State) -> Expanded:
    if isinstance(step, Arg):  # a default that a client's value takes the place of is not read
        kept = tuple((key, value) for key, value in step.entries if key not in checker.given)
        step = Arg(step.location, step.original, kept)
    return expand(step, state.variables, checker.dockerfile.escape, checker.work)


def _name(step: Instruction) -> str:
    """As it is spelt."""
    return step.original.split(None, 1)[0]


def _undefined(checker: _Checker, step: Instruction, expanded: Expanded, state: _State) -> None:
    if not state.is_known:
        return
    for name in sorted(expanded.missing - state.declared):
        if checker.report.wants("UndefinedVar"):
            checker.report.add("UndefinedVar", step.location, name, _variable_meant(name, state))


def _variable_meant(name: str, state: _State) -> str:
    return meant(name, state.variables).replace("mean ", "mean $")


def _step(checker: _Checker, given: Instruction, step: Instruction, state: _State) -> None:
    """``step`` is ``given`` with its variables replaced."""
    report = checker.report
    if isinstance(step, Cmd | Entrypoint):
        if step.command.words is None and not state.has_shell:
            report.add("JSONArgsRecommended", step.location, _name(step))
    elif isinstance(step, Arg):
        _arg(checker, given, step, state)
    elif isinstance(step, Env | Label):
        _pairs(report, step, checker.dockerfile.escape)
        if isinstance(step, Env):
            state.variables.update(step.entries)
    elif isinstance(step, Shell):
        state.has_shell = True
    elif isinstance(step, Workdir):
        if not state.workdir_set and not step.path.startswith("/"):
            report.add("WorkdirRelativePath", step.location, step.path)
        state.workdir_set = True
    elif isinstance(step, Expose):
        _ports(report, step)
    elif isinstance(step, Copy):
        _sources(checker, step)


def _arg(checker: _Checker, given: Instruction, step: Arg, state: _State) -> None:
    assert isinstance(given, Arg)
    defaults = dict(step.entries)
    for name, _ in given.entries:
        _secret(checker.report, "ARG", name, given)
        value = checker.given.get(name, defaults.get(name))
        if value is None:
            value = checker.graph.arguments.get(name)
        if value is not None:
            state.variables[name] = value
        state.declared.add(name)


def _pairs(report: Report, step: Env | Label, escape: str) -> None:
    name = _name(step)
    given = statement(step.original, step.location)
    if forms.is_old_form(forms.quoted_words(given.arguments, escape)):
        report.add("LegacyKeyValueFormat", step.location, name)
    if isinstance(step, Env):
        for key, _ in step.entries:
            _secret(report, "ENV", key, step)


def _secret(report: Report, keyword: str, name: str, step: Instruction) -> None:
    if _SECRET.search(name) and not _NO_SECRET.search(name):
        report.add("SecretsUsedInArgOrEnv", step.location, keyword, name)


def _ports(report: Report, step: Expose) -> None:
    for port in step.ports:
        host, colon, container = port.rpartition(":")
        protocol = container.partition("/")[2]
        if protocol != protocol.lower():
            report.add("ExposeProtoCasing", step.location, port)
        if colon and host.strip(":"):
            report.add("ExposeInvalidFormat", step.location, port)


def _sources(checker: _Checker, step: Copy) -> None:
    if checker.is_ignored is None or step.from_:
        return
    verb = "Add" if isinstance(step, Add) else "Copy"
    for source in step.sources:
        if isinstance(step, Add) and source.startswith(_REMOTE):
            continue
        path = posixpath.normpath(source).lstrip("/")
        if path not in ("", ".") and checker.is_ignored(path):
            checker.report.add("CopyIgnoredFile", step.location, verb, path)
