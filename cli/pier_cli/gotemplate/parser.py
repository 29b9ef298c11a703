"""From tokens to the tree."""

from __future__ import annotations

from pier_cli.gotemplate.errors import TemplateError
from pier_cli.gotemplate.functions import NAMES
from pier_cli.gotemplate.lexer import Token, line_of, tokens
from pier_cli.gotemplate.nodes import (
    Branch,
    Call,
    Constant,
    Dot,
    Function,
    Jump,
    Node,
    Path,
    Pipeline,
    Text,
    Variable,
)

_BRANCHES = ("if", "with", "range")
_DEPTH = 200


def parse(text: str, name: str) -> list[Node]:
    """The nodes of ``text``. TemplateError with Go's words and line."""
    return _Parser(text, name).all()


class _Parser:
    def __init__(self, text: str, name: str) -> None:
        self._text = text
        self._name = name
        self._tokens = tokens(text, name)
        self._next = 0
        self._variables = ["$"]
        self._ranges = 0
        self._depth = 0

    def all(self) -> list[Node]:
        nodes, end = self._list()
        if end:
            raise self._fail(f"unexpected {{{{{end}}}}}")
        return nodes

    # --- tokens

    def _fail(self, message: str) -> TemplateError:
        at = self._tokens[self._next - 1].at if self._next else 0
        return TemplateError(f"template: {self._name}:{line_of(self._text, at)}: {message}", parsing=True)

    def _take(self) -> Token:
        if self._next >= len(self._tokens):
            raise self._fail("unexpected EOF")
        token = self._tokens[self._next]
        self._next += 1
        return token

    def _peek(self) -> Token:
        if self._next >= len(self._tokens):
            raise self._fail("unexpected EOF")
        return self._tokens[self._next]

    def _skip_space(self) -> Token:
        while self._peek().kind == "space":
            self._next += 1
        return self._peek()

    # --- lists and actions

    def _list(self) -> tuple[list[Node], str]:
        """Nodes up to ``end`` or ``else``, and which of them it was ("" at the end of the text)."""
        nodes: list[Node] = []
        while self._next < len(self._tokens):
            token = self._take()
            if token.kind == "text":
                nodes.append(Text(token.at, token.source))
                continue
            word = self._skip_space()
            if word.kind == "word" and word.source in ("end", "else"):
                self._next += 1
                if word.source == "end":
                    self._close("end")
                return nodes, word.source
            nodes.append(self._action(word))
        return nodes, ""

    def _close(self, context: str) -> None:
        token = self._skip_space()
        self._next += 1
        if token.kind != "close":
            raise self._fail(f"unexpected <{token.source}> in {context}")

    def _action(self, word: Token) -> Node:
        if word.kind == "word":
            if word.source in _BRANCHES:
                self._next += 1
                return self._branch(word)
            if word.source in ("break", "continue"):
                self._next += 1
                if not self._ranges:
                    raise self._fail(f"{{{{{word.source}}}}} outside {{{{range}}}}")
                self._close(word.source)
                return Jump(word.at, word.source)
            if word.source in ("define", "block", "template"):
                raise self._fail(f"{{{{{word.source}}}}} is not supported")
        pipeline = self._pipeline("command", "close")
        self._next += 1
        return pipeline

    def _branch(self, word: Token) -> Node:
        self._depth += 1
        if self._depth > _DEPTH:
            raise self._fail("nested too deeply")
        known = len(self._variables)
        pipeline = self._pipeline(word.source, "close", two=word.source == "range")
        self._next += 1
        self._ranges += word.source == "range"
        then, end = self._list()
        self._ranges -= word.source == "range"
        other: list[Node] = []
        if end == "else":
            following = self._skip_space()
            if following.kind == "word" and following.source in ("if", "with") and following.source == word.source:
                self._next += 1
                other = [self._branch(following)]
                end = "end"
            else:
                self._close("else")
                other, end = self._list()
                if end == "else":
                    raise self._fail("expected end; found {{else}}")
        if end != "end":
            raise self._fail("unexpected EOF")
        del self._variables[known:]
        self._depth -= 1
        return Branch(word.at, word.source, pipeline, then, other)

    # --- pipelines

    def _pipeline(self, context: str, end: str, two: bool = False) -> Pipeline:
        """A pipeline up to the token of kind ``end``, which is left for the caller."""
        start = self._skip_space()
        names, declares = self._declaration(two)
        calls: list[Call] = []
        while True:
            token = self._skip_space()
            if token.kind == end:
                break
            if calls:
                if token.kind != "|":
                    raise self._fail(f"unexpected <{token.source}> in {context}")
                self._next += 1
            calls.append(self._call(context))
        if not calls:
            self._next += 1
            raise self._fail(f"missing value for {context}")
        for call in calls[1:]:
            if isinstance(call.head, (Constant, Dot)) and not isinstance(call.head, Dot):
                raise self._fail(f"non executable command in pipeline stage {calls.index(call) + 1}")
        if declares:
            self._variables += names
        return Pipeline(start.at, self._text[start.at: self._peek().at].rstrip(), calls, names, declares)

    def _declaration(self, two: bool) -> tuple[list[str], bool]:
        start = self._next
        names: list[str] = []
        while self._skip_space().kind == "variable":
            names.append(self._take().source)
            sign = self._skip_space()
            if sign.kind in (":=", "="):
                self._next += 1
                if len(names) > 2 or (len(names) == 2 and not two):
                    raise self._fail("too many declarations in command")
                for name in names if sign.kind == "=" else ():
                    self._known(name)
                return names, sign.kind == ":="
            if sign.kind != ",":
                break
            self._next += 1
        self._next = start
        return [], False

    def _known(self, name: str) -> None:
        if name not in self._variables:
            raise self._fail(f'undefined variable "{name}"')

    def _call(self, context: str) -> Call:
        operands: list[Node] = []
        start = self._skip_space()
        while True:
            token = self._skip_space()
            if token.kind in ("close", "|", ")"):
                break
            operand = self._operand(token)
            if operand is None:
                self._next += 1
                raise self._fail(f"unexpected <{token.source}> in {'operand' if operands else context}")
            operands.append(operand)
            if self._peek().kind not in ("space", "close", "|", ")"):
                bad = self._take()
                raise self._fail(f"unexpected <{bad.source}> in operand")
        if not operands:
            self._next += 1
            raise self._fail(f"missing value for {context}")
        source = self._text[start.at: self._peek().at].rstrip()
        return Call(start.at, source, operands[0], operands[1:])

    def _operand(self, token: Token) -> Node | None:
        base = self._term(token)
        if base is None:
            return None
        names: list[str] = []
        at = base.at
        first = isinstance(base, Path)
        while self._peek().kind == "field":
            if not names:
                at = self._peek().at
            names.append(str(self._take().value))
        if not names:
            return base
        last = self._tokens[self._next - 1]
        source = self._text[token.at: last.at + len(last.source)]
        if isinstance(base, Path) and first:
            return Path(at, source, base.base, base.names + names)
        if isinstance(base, Constant):
            raise self._fail(f"unexpected . after term {base.source}")
        return Path(at, source, None if isinstance(base, Dot) else base, names)

    def _term(self, token: Token) -> Node | None:
        kind = token.kind
        if kind == "(":
            self._next += 1
            self._depth += 1
            if self._depth > _DEPTH:
                raise self._fail("nested too deeply")
            inner = self._pipeline("parenthesized pipeline", ")")
            self._next += 1
            self._depth -= 1
            return inner
        if kind not in ("word", "dot", "field", "variable", "string", "number", "char"):
            return None
        self._next += 1
        if kind == "dot":
            return Dot(token.at, ".")
        if kind == "field":
            return Path(token.at, token.source, None, [str(token.value)])
        if kind == "variable":
            self._known(token.source)
            return Variable(token.at, token.source, token.source)
        if kind != "word":
            return Constant(token.at, token.source, token.value)
        if token.source in ("true", "false"):
            return Constant(token.at, token.source, token.source == "true")
        if token.source == "nil":
            return Constant(token.at, token.source, None)
        if token.source not in NAMES:
            raise self._fail(f'function "{token.source}" not defined')
        return Function(token.at, token.source)
