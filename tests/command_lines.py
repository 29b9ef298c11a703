"""Which commands and flags of pier the tests use: read from their source, as it stands.

A command line is a call's words (``engine.pier("ps", "-a")``), a list or tuple of words, or a text with the words in it
(``"run --rm NAME true"``). Words that are made while the test runs stand for anything. Where a test has parameters, the
flags among its parameters go with the commands that its own calls name. What is given to the docker command alone
(``engine.ok``, ``docker(…)``) tells nothing of pier.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pier_cli.flags import Flag
from pier_cli.main import GLOBAL_FLAGS, load
from pier_cli.table import COMMANDS, GROUPS

GLOBAL: Final = ""
"""In place of a command, for the flags in front of it."""
_ANY: Final = "\0"
_OF_DOCKER: Final = frozenset({"engine.ok", "engine.docker", "docker", "clients.ok"})
_WORD: Final = re.compile(r"[a-z][a-z-]*")

Use = tuple[str, str]
"""A command's target in the table, and a flag's long name; "" for the command itself."""


@dataclass
class _Found:
    uses: set[Use] = field(default_factory=set)

    def line(self, words: list[str]) -> list[str]:
        """Take in one command line; the targets of the command that it has."""
        words = words[words.index("pier") + 1:] if "pier" in words else words
        words = self._flags(GLOBAL, GLOBAL_FLAGS, words, interspersed=False)
        if not words:
            return []
        size = 2 if words[0] in GROUPS else 1
        name = " ".join(words[:size])
        if name not in COMMANDS:
            return []
        target, command = COMMANDS[name][0], load(name)
        self.uses.add((target, ""))
        self._flags(target, command.flags, words[size:], interspersed=command.interspersed)
        return [target]

    def _flags(self, target: str, flags: Iterable[Flag], words: list[str], *, interspersed: bool) -> list[str]:
        """Take in the flags at the beginning of ``words``, or anywhere; what comes behind them."""
        longs = {flag.long: flag for flag in flags}
        shorts = {flag.short: flag for flag in flags if flag.short}
        position = 0
        while position < len(words):
            word = words[position]
            if word == "--":
                break
            if word.startswith("--"):
                name, equals, _ = word[2:].partition("=")
                position += self._one(target, longs.get(name), takes_next=not equals)
            elif word.startswith("-") and len(word) > 1:
                position += self._letters(target, shorts, word[1:])
            elif not interspersed and word != _ANY:
                break
            position += 1
        return words[position:]

    def _letters(self, target: str, shorts: dict[str, Flag], letters: str) -> int:
        for number, letter in enumerate(letters):
            flag = shorts.get(letter)
            if flag is None or flag.kind != "bool":
                return self._one(target, flag, takes_next=number + 1 == len(letters))
            self._one(target, flag, takes_next=False)
        return 0

    def _one(self, target: str, flag: Flag | None, *, takes_next: bool) -> int:
        """How many words more the flag takes."""
        if flag is None:
            return 0
        self.uses.add((target, flag.long))
        return int(takes_next and flag.kind != "bool")


def grammar() -> set[Use]:
    """Every command with every flag that ``--help`` lists, each by one of its spellings."""
    found = {(GLOBAL, flag.long) for flag in GLOBAL_FLAGS}
    for words, (target, _) in COMMANDS.items():
        found |= {(target, ""), *((target, flag.long) for flag in load(words).flags)}
    return found


def used(paths: Iterable[Path]) -> set[Use]:
    """What the tests in ``paths`` use."""
    found = _Found()
    for path in paths:
        tree = ast.parse(path.read_text())
        helpers = _helpers(tree)
        for node in _shown(tree):
            for words in _lines(node):
                found.line(words)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in helpers:
                found.line([*helpers[node.func.id], *(word for each in node.args for word in _words(each))])
        for test in ast.walk(tree):
            if isinstance(test, ast.FunctionDef | ast.AsyncFunctionDef):
                _parametrized(found, test)
    return found.uses


def _helpers(tree: ast.Module) -> dict[str, list[str]]:
    """A module's functions that run a command with the words that they are given, or hand them on to such a one, by the
    words of their own before these."""
    found: dict[str, list[str]] = {}
    for function in tree.body:
        if not isinstance(function, ast.FunctionDef) or function.args.vararg is None:
            continue
        given = f"*{function.args.vararg.arg}"
        for node in _shown(function):
            if isinstance(node, ast.Call) and given in map(ast.unparse, node.args):
                inner = found.get(ast.unparse(node.func), [])
                found[function.name] = [*inner, *_words_before(node, given)]
    return found


def _words_before(call: ast.Call, given: str) -> list[str]:
    words: list[str] = []
    for each in call.args:
        if ast.unparse(each) == given:
            break
        words += _words(each)
    return words


def _parametrized(found: _Found, test: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    """The flags among a test's parameters, for the commands of those of its lines that a parameter stands in."""
    flags = [node.value for decorator in test.decorator_list for node in ast.walk(decorator)
             if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("-")]
    if not flags:
        return
    for statement in test.body:
        for node in _shown(statement):
            for words in _lines(node):
                if _ANY in words:
                    names = [word for word in words if word != _ANY]
                    for flag in flags:
                        found.line([*names[:2], *shlex.split(flag)])
                        found.line([*names[:1], *shlex.split(flag)])


def _shown(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but docstrings and what only the docker command is given."""
    if isinstance(tree, ast.Expr) and isinstance(tree.value, ast.Constant):
        return
    if isinstance(tree, ast.Call) and ast.unparse(tree.func) in _OF_DOCKER:
        return
    yield tree
    for child in ast.iter_child_nodes(tree):
        yield from _shown(child)


def _lines(node: ast.AST) -> Iterator[list[str]]:
    """The command lines that ``node`` may be, from each of its words on."""
    if isinstance(node, ast.Constant | ast.JoinedStr):
        words = _split(_text(node))
    elif isinstance(node, ast.Call):
        words = [word for each in node.args for word in _words(each)]
    elif isinstance(node, ast.List | ast.Tuple):
        words = [word for each in node.elts for word in _words(each)]
    else:
        return
    for start, word in enumerate(words):
        if word in GROUPS or word in COMMANDS or word.startswith("-"):
            yield words[start:]
            if not word.startswith("-"):
                return


def _words(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        # "network create" in front of a list of flags, as tests of one command have it
        return node.value.split() if node.value in COMMANDS else [node.value]
    if isinstance(node, ast.JoinedStr):
        return [_text(node)]
    if isinstance(node, ast.List | ast.Tuple):
        return [word for each in node.elts for word in _words(each)]
    if isinstance(node, ast.Starred):
        return _words(node.value)
    if isinstance(node, ast.IfExp):
        return [*_words(node.body), *_words(node.orelse)]
    return [_ANY]


def _text(node: ast.Constant | ast.JoinedStr) -> str:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    return "".join(part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else "x"
                   for part in node.values)


def _split(text: str) -> list[str]:
    if " " not in text or len(text) > 1000:
        return []
    try:
        return shlex.split(text)
    except ValueError:
        return []
