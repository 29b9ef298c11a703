"""A template's tree, carried out."""

from __future__ import annotations

from pier_cli.gotemplate.errors import TemplateError
from pier_cli.gotemplate.functions import FUNCTIONS, Bad
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
from pier_cli.gotemplate.values import MISSING, Fields, Missing, Null, Schema, show, truth, type_name

_NONE = object()


class _Jumped(Exception):
    def __init__(self, goes_on: bool) -> None:
        super().__init__()
        self.goes_on = goes_on


class Evaluator:
    """One rendering of one template."""

    def __init__(self, name: str, text: str, schema: Schema | None = None) -> None:
        self._schema = schema
        self._name = name
        self._text = text
        self._out: list[str] = []
        self._variables: list[tuple[str, object]] = []

    def run(self, nodes: list[Node], data: object) -> str:
        self._variables = [("$", data)]
        self._list(nodes, data)
        return "".join(self._out)

    def _fail(self, node: Node, message: str) -> TemplateError:
        line_start = self._text.rfind("\n", 0, node.at) + 1
        line = self._text.count("\n", 0, node.at) + 1
        column = len(self._text[line_start: node.at].encode("utf-8", "surrogateescape"))
        source = node.source if len(node.source) <= 20 else f"{node.source[:20]}..."
        where = f'{self._name}:{line}:{column}: executing "{self._name}"'
        return TemplateError(f"template: {where} at <{source}>: {message}")

    def _list(self, nodes: list[Node], dot: object) -> None:
        for node in nodes:
            if isinstance(node, Text):
                self._out.append(node.source)
            elif isinstance(node, Branch):
                self._branch(node, dot)
            elif isinstance(node, Jump):
                raise _Jumped(node.source == "continue")
            elif isinstance(node, Pipeline):
                value = self._pipeline(node, dot)
                if not node.names:
                    self._out.append(show(value))

    def _branch(self, node: Branch, dot: object) -> None:
        mark = len(self._variables)
        if node.source == "range":
            self._range(node, dot)
        else:
            value = self._pipeline(node.pipeline, dot)
            if truth(value):
                self._list(node.then, value if node.source == "with" else dot)
            else:
                self._list(node.other, dot)
        del self._variables[mark:]

    def _range(self, node: Branch, dot: object) -> None:
        pipeline = node.pipeline
        value = self._calls(pipeline, dot)
        pairs: list[tuple[object, object]]
        if isinstance(value, list):
            pairs = list(enumerate(value))
        elif isinstance(value, dict):
            pairs = [(key, value[key]) for key in sorted(value)]
        elif isinstance(value, int) and not isinstance(value, bool):
            pairs = [(index, index) for index in range(value)]
        elif value is None or isinstance(value, (Missing, Null)):
            pairs = []
        else:
            raise self._fail(pipeline, f"range can't iterate over {show(value)}")
        if not pairs:
            self._list(node.other, dot)
            return
        mark = len(self._variables)
        for key, item in pairs:
            given = (item,) if len(pipeline.names) == 1 else (key, item)
            for name, part in zip(pipeline.names, given, strict=False):
                if pipeline.declares:
                    self._variables.append((name, part))
                else:
                    self._assign(name, part)
            try:
                self._list(node.then, item)
            except _Jumped as jump:
                if not jump.goes_on:
                    break
            finally:
                del self._variables[mark:]

    def _pipeline(self, node: Pipeline, dot: object) -> object:
        value = self._calls(node, dot)
        for name in node.names:
            if node.declares:
                self._variables.append((name, value))
            else:
                self._assign(name, value)
        return value

    def _calls(self, node: Pipeline, dot: object) -> object:
        value: object = _NONE
        for call in node.calls:
            value = self._call(call, dot, value)
        return value

    def _assign(self, name: str, value: object) -> None:
        for index in range(len(self._variables) - 1, -1, -1):
            if self._variables[index][0] == name:
                self._variables[index] = (name, value)
                return

    def _variable(self, name: str) -> object:
        return next(value for known, value in reversed(self._variables) if known == name)

    def _call(self, call: Call, dot: object, last: object) -> object:
        head = call.head
        if isinstance(head, Function):
            if head.source in ("and", "or"):
                return self._shortcut(head, call, dot, last)
            arguments = [self._argument(argument, dot) for argument in call.arguments]
            if last is not _NONE:
                arguments.append(last)
            return self._apply(head, arguments)
        if isinstance(head, Path):
            arguments = [self._argument(argument, dot) for argument in call.arguments]
            if last is not _NONE:
                arguments.append(last)
            return self._path(head, dot, arguments)
        if call.arguments or last is not _NONE:
            raise self._fail(head, f"can't give argument to non-function {head.source}")
        if isinstance(head, Constant) and head.value is None:
            raise self._fail(head, "nil is not a command")
        return self._argument(head, dot)

    def _argument(self, node: Node, dot: object) -> object:
        if isinstance(node, Dot):
            return dot
        if isinstance(node, Constant):
            return node.value
        if isinstance(node, Variable):
            return self._variable(node.name)
        if isinstance(node, Path):
            return self._path(node, dot, [])
        if isinstance(node, Pipeline):
            return self._pipeline(node, dot)
        return self._apply(node, [])

    def _apply(self, node: Node, arguments: list[object]) -> object:
        function, least, most = FUNCTIONS[node.source]
        if len(arguments) < least or (most >= 0 and len(arguments) > most):
            wanted = str(least) if least == most else f"at least {least}"
            raise self._fail(
                node, f"wrong number of args for {node.source}: want {wanted} got {len(arguments)}"
            )
        try:
            return function(*arguments)
        except Bad as error:
            raise self._fail(node, f"error calling {node.source}: {error}") from None

    def _shortcut(self, head: Function, call: Call, dot: object, last: object) -> object:
        """``and`` and ``or`` look no further than they must."""
        wants = head.source == "or"
        value: object = _NONE
        for argument in call.arguments:
            value = self._argument(argument, dot)
            if truth(value) == wants:
                return value
        if last is not _NONE:
            value = last
        if value is _NONE:
            raise self._fail(head, f"wrong number of args for {head.source}: want at least 1 got 0")
        return value

    def _path(self, node: Path, dot: object, arguments: list[object]) -> object:
        value = dot if node.base is None else self._argument(node.base, dot)
        for index, name in enumerate(node.names):
            final = index == len(node.names) - 1
            if isinstance(value, Fields):
                if name not in value:
                    raise self._fail(node, f"can't evaluate field {name} in type {type_name(value)}")
                value = self._field(node, value, name, arguments if final else [])
                continue
            if isinstance(value, dict):
                if final and arguments:
                    raise self._fail(node, f"{name} is not a method but has arguments")
                value = self._entry(node, value, node.names[index - 1] if index else "", name)
            elif isinstance(value, Null) and value.kind == "map":
                value = MISSING
            elif isinstance(value, Null):
                raise self._fail(node, f"nil pointer evaluating interface {{}}.{name}")
            elif value is None or value is MISSING:
                raise self._fail(node, f"nil data; no entry for key \"{name}\"" if index == 0
                                 else f"nil pointer evaluating interface {{}}.{name}")
            else:
                raise self._fail(node, f"can't evaluate field {name} in type {type_name(value)}")
        return value

    def _entry(self, node: Path, value: dict[str, object], parent: str, name: str) -> object:
        if name in value:
            found = value[name]
            return self._schema.null(name) if found is None and self._schema else found
        missing = self._schema.missing(parent, name) if self._schema else None
        if missing is None:
            raise self._fail(node, f'map has no entry for key "{name}"')
        return missing

    def _field(self, node: Path, value: Fields, name: str, arguments: list[object]) -> object:
        try:
            return value.field(name, *arguments)
        except TypeError:
            raise self._fail(node, f"wrong number of args for {name}: got {len(arguments)}") from None
