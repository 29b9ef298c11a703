"""What can stand at the end of a command line: commands, flags, and names that the engine knows.

It reads the tables that parsing and ``--help`` read. What an argument is says the command's usage line (CONTAINER,
IMAGE, NETWORK, VOLUME, CONTEXT); what a flag's value is says its name.
"""

from __future__ import annotations

from pier_cli.failure import Failure
from pier_cli.table import COMMANDS, GROUPS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from pier_cli.command import Command
    from pier_cli.context import Context
    from pier_cli.flags import Flag

    Candidates = Iterator[tuple[str, str]]

FILES = ":files"
"""In place of a candidate: the shell completes names of files."""
_OF_FLAGS = {"network": "NETWORK", "context": "CONTEXT", "volumes-from": "CONTAINER", "link": "CONTAINER"}
_OF_FILES = frozenset({"file", "env-file", "label-file", "cidfile", "iidfile", "output", "input", "config", "tlscacert",
                       "tlscert", "tlskey", "secret"})
_PATHS = frozenset({
    "PATH", "FILE", "SRC_PATH", "DEST_PATH", "CONTAINER:SRC_PATH", "DEST_PATH|-", "SRC_PATH|-", "file|URL|-", "FILE|-",
})
_KINDS = {
    "CONTAINER": "CONTAINER", "IMAGE": "IMAGE", "NETWORK": "NETWORK", "VOLUME": "VOLUME", "CONTEXT": "CONTEXT",
    "SOURCE_IMAGE": "IMAGE", "TARGET_IMAGE": "IMAGE", "NAME": "IMAGE", "REPOSITORY": "IMAGE", "NAME|ID": "CONTAINER",
    "CONTAINER:SRC_PATH": "CONTAINER",
}


def candidates(context: Context, global_flags: Sequence[Flag], words: Sequence[str]) -> list[tuple[str, str]]:
    """What may stand for the last of ``words``, each with a line about it. "" and no words are the same."""
    last = words[-1] if words else ""
    return [(text, about) for text, about in _all(context, global_flags, list(words[:-1]), last)
            if text == FILES or text.startswith(last)]


def _all(context: Context, global_flags: Sequence[Flag], before: list[str], last: str) -> Candidates:
    before, flag = _after_flags(global_flags, before)
    if flag is not None:
        yield from _of_flag(context, flag)
    elif not before:
        yield from _flags(global_flags) if last.startswith("-") else _top()
    elif before[0] in GROUPS and len(before) == 1:
        yield from _group(before[0])
    else:
        size = 2 if before[0] in GROUPS else 1
        name = " ".join(before[:size])
        if name in COMMANDS:
            yield from _of_command(context, _load(name), before[size:], last)


def _load(words: str) -> Command:
    from pier_cli.main import load

    return load(words)


def _of_command(context: Context, command: Command, before: list[str], last: str) -> Candidates:
    arguments, flag = _split(command.flags, before)
    if flag is not None:
        yield from _of_flag(context, flag)
    elif last.startswith("-"):
        yield from _flags(command.flags)
    else:
        yield from _of_argument(context, command.usage, len(arguments))


def _after_flags(flags: Sequence[Flag], words: list[str]) -> tuple[list[str], Flag | None]:
    """``words`` behind the global flags, and the flag whose value comes next."""
    position = 0
    while position < len(words) and words[position].startswith("-"):
        flag = _awaiting(flags, words[position])
        position += 1
        if flag is not None:
            if position == len(words):
                return [], flag
            position += 1
    return words[position:], None


def _split(flags: Sequence[Flag], words: list[str]) -> tuple[list[str], Flag | None]:
    """The arguments among ``words``, and the flag whose value comes next."""
    arguments: list[str] = []
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if not word.startswith("-") or word == "-":
            arguments.append(word)
        elif (flag := _awaiting(flags, word)) is not None:
            if position == len(words):
                return arguments, flag
            position += 1
    return arguments, None


def _awaiting(flags: Sequence[Flag], word: str) -> Flag | None:
    """The flag that ``word`` ends in, where its value is the next word."""
    if "=" in word:
        return None
    for flag in flags:
        if flag.kind != "bool" and (word == f"--{flag.long}" or (flag.short and word == f"-{flag.short}")):
            return flag
    return None


def _top() -> Candidates:
    yield from GROUPS.items()
    for words, (_, summary) in COMMANDS.items():
        if " " not in words and summary:
            yield words, summary


def _group(name: str) -> Candidates:
    for words, (_, summary) in COMMANDS.items():
        if words.startswith(f"{name} ") and summary:
            yield words[len(name) + 1:], summary


def _flags(flags: Sequence[Flag]) -> Candidates:
    for flag in flags:
        yield f"--{flag.long}", flag.help.partition("\n")[0]
    yield "--help", "Print usage"


def _of_flag(context: Context, flag: Flag) -> Candidates:
    if flag.long in _OF_FLAGS:
        yield from _names(context, _OF_FLAGS[flag.long])
    elif flag.long in _OF_FILES:
        yield FILES, ""


def _of_argument(context: Context, usage: str, number: int) -> Candidates:
    """Argument ``number`` (from 0) of any of the forms in ``usage``; the last of a form may be repeated."""
    kinds = set()
    for form in usage.split("\n"):
        places = [word.strip("[]") for word in form.split() if word.strip("[]") not in ("OPTIONS", "")]
        if places:
            place = places[min(number, len(places) - 1)]
            repeats = place.endswith("...")
            if number < len(places) or repeats:
                kinds.add(place.removesuffix("..."))
    for kind in sorted(kinds):
        if kind in _PATHS:
            yield FILES, ""
        if named := _KINDS.get(kind.partition("[")[0]):
            yield from _names(context, named)
        elif all(word.isalpha() and word.islower() for word in kind.split("|")):
            for word in kind.split("|"):
                yield word, ""


def _names(context: Context, kind: str) -> Candidates:
    """Names of the engine's things; nothing where it does not answer."""
    try:
        yield from _ASKED[kind](context)
    except (Failure, OSError, LookupError, TypeError):
        return


def _containers(context: Context) -> Candidates:
    for item in context.engine.call("GET", "/containers/json", (("all", "1"),)):
        yield _first(item), str(item.get("Status") or "")


def _first(item: dict[str, Any]) -> str:
    return str((item.get("Names") or ["/"])[0]).removeprefix("/")


def _images(context: Context) -> Candidates:
    for item in context.engine.call("GET", "/images/json"):
        for name in item.get("RepoTags") or ():
            if not name.startswith("<"):
                yield str(name), str(item["Id"]).partition(":")[2][:12]
                if name.endswith(":latest"):
                    yield str(name).removesuffix(":latest"), ""


def _networks(context: Context) -> Candidates:
    for item in context.engine.call("GET", "/networks"):
        yield str(item["Name"]), str(item["Driver"])


def _volumes(context: Context) -> Candidates:
    for item in context.engine.call("GET", "/volumes").get("Volumes") or ():
        yield str(item["Name"]), str(item["Driver"])


def _contexts(_: Context) -> Candidates:
    from pier_cli import contexts

    yield contexts.DEFAULT, ""
    for named in contexts.everything():
        yield named.name, named.description


_ASKED: dict[str, Callable[[Context], Candidates]] = {
    "CONTAINER": _containers, "IMAGE": _images, "NETWORK": _networks, "VOLUME": _volumes, "CONTEXT": _contexts,
}
