"""The tree of a template. ``at`` is the offset that an error points to, ``source`` what it quotes."""

from __future__ import annotations


class Node:
    __slots__ = ("at", "source")

    def __init__(self, at: int, source: str) -> None:
        self.at = at
        self.source = source


class Text(Node):
    __slots__ = ()


class Constant(Node):
    """A literal, or ``nil``."""

    __slots__ = ("value",)

    def __init__(self, at: int, source: str, value: object) -> None:
        super().__init__(at, source)
        self.value = value


class Dot(Node):
    __slots__ = ()


class Path(Node):
    """Fields of the dot (``base`` None), of a variable or of a parenthesised pipeline, one after the other."""

    __slots__ = ("base", "names")

    def __init__(self, at: int, source: str, base: Node | None, names: list[str]) -> None:
        super().__init__(at, source)
        self.base = base
        self.names = names


class Variable(Node):
    __slots__ = ("name",)

    def __init__(self, at: int, source: str, name: str) -> None:
        super().__init__(at, source)
        self.name = name


class Function(Node):
    __slots__ = ()


class Call(Node):
    """One command of a pipeline: its first word, and the arguments."""

    __slots__ = ("arguments", "head")

    def __init__(self, at: int, source: str, head: Node, arguments: list[Node]) -> None:
        super().__init__(at, source)
        self.head = head
        self.arguments = arguments


class Pipeline(Node):
    """Commands, each given the result of the one before as its last argument; ``names`` are variables that take the
    result, declared anew or not."""

    __slots__ = ("calls", "declares", "names")

    def __init__(self, at: int, source: str, calls: list[Call], names: list[str], declares: bool) -> None:
        super().__init__(at, source)
        self.calls = calls
        self.names = names
        self.declares = declares


class Branch(Node):
    """``if``, ``with`` or ``range`` (its ``source``)."""

    __slots__ = ("other", "pipeline", "then")

    def __init__(self, at: int, source: str, pipeline: Pipeline, then: list[Node], other: list[Node]) -> None:
        super().__init__(at, source)
        self.pipeline = pipeline
        self.then = then
        self.other = other


class Jump(Node):
    """``break`` or ``continue`` (its ``source``)."""

    __slots__ = ()
