"""A Dockerfile's bytes to instructions: `parse`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Literal, cast

from buildd.dockerfile import heredocs, mounts
from buildd.dockerfile.errors import REASON, located
from buildd.dockerfile.instructions import (
    Add,
    Arg,
    Copy,
    Dockerfile,
    From,
    Heredoc,
    Instruction,
    Location,
    Maintainer,
    Run,
    Stage,
)
from buildd.dockerfile.lines import Line, Lines, lines
from chassis.errors import InvalidArgument, Unimplemented
from chassis.spelling import meant
from coordinator.dockerfile import flags, forms
from coordinator.dockerfile.errors import bad, shown
from coordinator.dockerfile.statement import PARSERS, Statement, on_build, statement

_STAGE_NAME: Final = re.compile(r"[a-z][a-z0-9_.-]*")
_FRONTEND: Final = re.compile(r"(docker\.io/)?docker/dockerfile(-upstream)?([:@].*)?")
_COPY_FLAGS: Final[dict[str, flags.Kind]] = {
    "from": "text", "chown": "text", "chmod": "text", "link": "switch", "parents": "switch", "exclude": "texts",
}
_ADD_FLAGS: Final[dict[str, flags.Kind]] = {
    "chown": "text", "chmod": "text", "link": "switch", "exclude": "texts", "keep-git-dir": "switch",
    "checksum": "text", "unpack": "switch",
}
_RUN_FLAGS: Final[dict[str, flags.Kind]] = {"mount": "texts", "network": "text", "security": "text"}
_NETWORKS: Final = ("default", "none", "host")
_SECURITY: Final = ("sandbox", "insecure")

Heredocs = tuple[Heredoc, ...]


def parse(source: bytes, name: str = "Dockerfile") -> Dockerfile:
    """InvalidArgument (BAD_DOCKERFILE), whose field is ``name`` and the line, for what is no Dockerfile; Unimplemented
    for one in another language (`# syntax=`). A large file takes a second or two: not on an event loop."""
    found = lines(source, name)
    arguments, stages = list[Arg](), list[Stage]()
    steps = list[Instruction]()
    base: From | None = None
    comments, empty = dict[int, tuple[str, ...]](), list[Location]()
    for line in found:
        _check_syntax(found)
        with located(name, line.location):
            instruction = parse_line(line, found.escape)
            if line.comments:
                comments[line.location.first] = line.comments
            if line.has_empty:
                empty.append(line.location)
            if isinstance(instruction, From):
                if base is not None:
                    stages.append(Stage(len(stages), base, tuple(steps)))
                base, steps = instruction, []
            elif base is not None:
                steps.append(instruction)
            elif isinstance(instruction, Arg):
                arguments.append(instruction)
            else:
                raise bad("no build stage in current context")
    if base is None:
        what = "dockerfile contains no stages to build" if arguments else "file with no instructions"
        raise InvalidArgument(what, reason=REASON, field=name)
    stages.append(Stage(len(stages), base, tuple(steps)))
    return Dockerfile(tuple(arguments), tuple(stages), found.directives, found.escape, comments, tuple(empty))


def parse_trigger(text: str, location: Location, escape: str = "\\", name: str = "Dockerfile") -> Instruction:
    """The instruction that an image's ONBUILD trigger is; ``location`` is that of the FROM that brings it."""
    with located(name, location):
        found = Lines(name, text.splitlines(keepends=True), escape=escape)
        found_lines = list(found)
        if len(found_lines) != 1:
            raise bad("onbuild trigger should be a single expression")
        line = found_lines[0]
        instruction = parse_line(Line(location, line.text, (), line.heredocs, False), escape)
        if isinstance(instruction, From | Maintainer):
            raise bad(f"{instruction.keyword} isn't allowed as an ONBUILD trigger")
        return instruction


def parse_line(line: Line, escape: str) -> Instruction:
    """InvalidArgument (BAD_INSTRUCTION) in BuildKit's words."""
    given = statement(line.text, line.location, escape)
    if given.keyword == "ONBUILD":
        return _on_build(given, line, escape)
    if given.keyword in PARSERS:
        return PARSERS[given.keyword](given)
    if given.keyword not in _PARSERS:
        known = sorted((*PARSERS, *_PARSERS))
        raise bad(f"unknown instruction: {shown(given.name)}{meant(given.keyword, known)}")
    return _PARSERS[given.keyword](given, line.heredocs)


def _check_syntax(found: Lines) -> None:
    frontend = found.directives.get("syntax", "").split(" ")[0]
    if frontend and not _FRONTEND.fullmatch(frontend):
        raise Unimplemented(
            f"the frontend {shown(frontend)!r} is not run: a Dockerfile is read as docker/dockerfile:1 has it",
            reason="UNKNOWN_SYNTAX", field=f"{found.name}:syntax", expected="docker/dockerfile",
        )


def _from(given: Statement, _: Heredocs) -> From:
    words = forms.blank_divided(given.arguments)
    name = ""
    if len(words) == 3 and words[1].lower() == "as":
        name = words[2].lower()
        if not _STAGE_NAME.fullmatch(name):
            raise bad(f'invalid name for build stage: "{shown(words[2])}", name can\'t start with a number or contain '
                      "symbols")
    elif len(words) != 1:
        raise bad("FROM requires either one or three arguments")
    options = flags.parse(given.flags, {"platform": "text"})
    return From(given.location, given.original, words[0], name, options.text("platform"))


def _arg(given: Statement, _: Heredocs) -> Arg:
    given.no_flags()
    entries = list[tuple[str, str | None]]()
    for word in forms.quoted_words(given.some(), given.escape):
        key, equals, value = word.partition("=")
        if not key:
            raise bad("ARG names can not be blank")
        entries.append((key, value if equals else None))
    return Arg(given.location, given.original, tuple(entries))


def _run(given: Statement, found: Heredocs) -> Run:
    options = flags.parse(given.flags, _RUN_FLAGS)
    network = options.text("network") or "default"
    if network not in _NETWORKS:
        raise bad(f'network mode "{shown(network)}" is not supported{meant(network, _NETWORKS)}')
    security = options.text("security") or "sandbox"
    if security not in _SECURITY:
        raise bad(f'security "{shown(security)}" is not valid{meant(security, _SECURITY)}')
    command = forms.command(given.some())
    if command.words == ():
        raise bad("RUN requires at least one argument")
    return Run(
        given.location, given.original, command, found,
        tuple(mounts.parse(text) for text in options.texts("mount")),
        cast(Literal["default", "none", "host"], network), cast(Literal["sandbox", "insecure"], security),
        heredoc_only=bool(found) and heredocs.start(given.arguments) is not None,
    )


def _copy(given: Statement, found: Heredocs) -> Copy:
    options = flags.parse(given.flags, _COPY_FLAGS)
    sources, target, contents = _sources(given, found)
    return Copy(
        given.location, given.original, sources, target, contents, options.text("from"), options.text("chown"),
        options.text("chmod"), options.switch("link"), options.switch("parents"), options.texts("exclude"),
    )


def _add(given: Statement, found: Heredocs) -> Add:
    options = flags.parse(given.flags, _ADD_FLAGS)
    sources, target, contents = _sources(given, found)
    return Add(
        given.location, given.original, sources, target, contents, "", options.text("chown"), options.text("chmod"),
        options.switch("link"), False, options.texts("exclude"), options.switch("keep-git-dir"),
        options.text("checksum"), options.optional_switch("unpack"),
    )


def _sources(given: Statement, found: Heredocs) -> tuple[tuple[str, ...], str, Heredocs]:
    """The sources that are paths, the target, and the sources that are heredocs."""
    words = forms.list_(given.arguments)
    if len(words) < 2:
        raise bad(f"{given.keyword} requires at least two arguments, but only one was provided. Destination could not "
                  "be determined")
    by_name = {heredoc.name: heredoc for heredoc in found}
    if heredocs.start(words[-1]) and found:
        raise bad(f"{given.keyword} cannot accept a heredoc as a destination")
    paths, contents = list[str](), list[Heredoc]()
    for word in words[:-1]:
        start = heredocs.start(word) if found else None
        if start and start.name in by_name:
            contents.append(by_name[start.name])
        else:
            paths.append(word)
    return tuple(paths), words[-1], tuple(contents)


def _maintainer(given: Statement, _: Heredocs) -> Maintainer:
    author = given.only()
    given.no_flags()
    return Maintainer(given.location, given.original, author)


def _on_build(given: Statement, line: Line, escape: str) -> Instruction:
    """The trigger is read too, so that what is wrong with it is told by the build that makes it."""
    made = on_build(given, "".join(f"\n{heredoc.raw}{heredoc.name}" for heredoc in line.heredocs))
    parse_line(Line(line.location, given.arguments, (), line.heredocs, False), escape)
    return made


_PARSERS: Final[dict[str, Callable[[Statement, Heredocs], Instruction]]] = {
    "ADD": _add, "ARG": _arg, "COPY": _copy, "FROM": _from, "MAINTAINER": _maintainer, "RUN": _run,
}
