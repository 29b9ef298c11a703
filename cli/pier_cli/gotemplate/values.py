"""How values look and behave in a template."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Missing:
    """The absence of a value (``<no value>``)."""

    def __repr__(self) -> str:
        return "<no value>"


MISSING = Missing()


class Null:
    """A null of a known Go type: ``kind`` is list, map or pointer. It prints as that type's and is empty."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __repr__(self) -> str:
        return {"list": "[]", "map": "map[]"}.get(self.kind, "<nil>")


class Schema:
    """What JSON does not say of a document: the Go types behind its nulls, and the fields that are left out when empty.

    Both go by the field's name alone: in the engine's documents a name has one type.
    """

    def __init__(self, lists: frozenset[str], maps: frozenset[str], omitted: dict[str, object]) -> None:
        self._lists = lists
        self._maps = maps
        self._omitted = omitted

    def null(self, name: str) -> Null:
        return Null("list" if name in self._lists else "map" if name in self._maps else "pointer")

    def missing(self, parent: str, name: str) -> object:
        """The value of a field that is not there, None where no such field is known. ``parent`` is the field that the
        document was found under: of a map's keys none is known, and none is an error."""
        if parent in self._maps:
            return MISSING
        if name not in self._omitted:
            return None
        value = self._omitted[name]
        return self.null(name) if value is None else value


class Fields:
    """A record whose fields are worked out when asked for, such as a line of ``ps``.

    ``kind`` is what errors call it. A field's function takes the arguments of the template's call, mostly none.
    """

    def __init__(self, kind: str, fields: dict[str, Callable[..., object]], methods: tuple[str, ...] = ()) -> None:
        self.kind = kind
        self._fields = fields
        self._methods = methods

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def field(self, name: str, *arguments: object) -> object:
        return self._fields[name](*arguments)

    def plain(self) -> dict[str, object]:
        """All fields that take no argument."""
        return {name: function() for name, function in self._fields.items() if name not in self._methods}


def truth(value: object) -> bool:
    """Whether ``if`` takes it: not false, 0, "", nil, an empty list or map."""
    if isinstance(value, (Missing, Null, type(None))):
        return False
    if isinstance(value, (bool, int, float, str, list, dict)):
        return bool(value)
    return True


def show(value: object) -> str:
    """``value`` as Go's ``%v`` prints it."""
    if value is None:
        return "<no value>"
    if isinstance(value, str):
        return value
    return _inner(value)


def _inner(value: object) -> str:
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{_inner(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(map(_inner, value)) + "]"
    if isinstance(value, Fields):
        return "{" + " ".join(map(_inner, value.plain().values())) + "}"
    return str(value)


def number(value: float) -> str:
    """A float as Go's ``%v``: shortest form, an exponent below 1e-4 and from 1e21 on."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    text = repr(value)
    if "e" not in text and "." in text and (abs(value) >= 1e-4 or value == 0):
        return text.removesuffix(".0")
    if 1e-4 <= abs(value) < 1e21:
        return f"{value:.0f}"
    mantissa, _, exponent = text.partition("e")
    if not exponent:
        return text
    sign = exponent[0] if exponent[0] in "+-" else "+"
    return f"{mantissa.removesuffix('.0')}e{sign}{exponent.lstrip('+-').zfill(2)}"


def type_name(value: object) -> str:
    """The Go type that an error names."""
    if isinstance(value, Fields):
        return f"*{value.kind}"
    names = ((bool, "bool"), (int, "int"), (float, "float64"), (str, "string"), (list, "[]interface {}"),
             (dict, "map[string]interface {}"))
    return next((name for kind, name in names if isinstance(value, kind)), "interface {}")
