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
    if isinstance(value, (Missing, type(None))):
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
