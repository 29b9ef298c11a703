"""The functions of templates: Go's own and docker's."""

from __future__ import annotations

from pier_cli.gotemplate.values import Fields, Missing, Null, show, truth, type_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST = 1 << 20


class Bad(Exception):
    """A function cannot take its arguments; the text is Go's."""


def plain(value: object) -> object:
    """``value`` with records as maps."""
    return value.plain() if isinstance(value, Fields) else value


def _json(value: object) -> str:
    from pier_cli.codec import dumps, escape_html

    if isinstance(value, (Missing, Null)):
        return "null"
    if isinstance(value, Fields):
        return escape_html(dumps(value.plain(), sort=True))
    return dumps(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise Bad(f"wrong type for value; expected string; got {type_name(value)}")
    return value


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise Bad(f"wrong type for value; expected int; got {type_name(value)}")
    return value


def _join(items: object, separator: object) -> str:
    if isinstance(items, Null) and items.kind == "list":
        return ""
    if not isinstance(items, list):
        raise Bad(f"wrong type for value; expected []string; got {type_name(items)}")
    return _text(separator).join(item if isinstance(item, str) else show(item) for item in items)


def _split(text: object, separator: object) -> list[str]:
    mark = _text(separator)
    return _text(text).split(mark) if mark else list(_text(text))


def _title(text: object) -> str:
    words = _text(text)
    return "".join(
        char.upper() if index == 0 or words[index - 1].isspace() else char for index, char in enumerate(words)
    )


def _pad(text: object, before: object, after: object) -> str:
    body = _text(text)
    if not body:
        return ""
    return " " * min(_whole(before), _LONGEST) + body + " " * min(_whole(after), _LONGEST)


def _truncate(text: object, length: object) -> str:
    body, limit = _text(text), _whole(length)
    return body if len(body) < limit else body[: max(limit, 0)]


def _println(*values: object) -> str:
    return " ".join(map(_printed, values)) + "\n"


def _printed(value: object) -> str:
    return "<nil>" if value is None else show(value)


def _print(*values: object) -> str:
    out = []
    for index, value in enumerate(values):
        # Go's Sprint: a space between operands neither of which is a string.
        if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
            out.append(" ")
        out.append(_printed(value))
    return "".join(out)


def _printf(layout: object, *values: object) -> str:
    from pier_cli.gotemplate.printf import sprintf

    return sprintf(_text(layout), list(values))


def _len(value: object) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogateescape"))
    if isinstance(value, (list, dict)):
        return len(value)
    if isinstance(value, Null) and value.kind != "pointer":
        return 0
    raise Bad(f"len of type {type_name(value)}" if value is not None else "len of nil pointer")


def _index(value: object, *keys: object) -> object:
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key if isinstance(key, str) else show(key))
        elif isinstance(value, (list, str)):
            at = _whole(key)
            if not 0 <= at < len(value):
                raise Bad(f"index out of range: {at}")
            value = value[at] if isinstance(value, list) else value.encode()[at]
        elif isinstance(value, Null) and value.kind == "map":
            value = None
        elif isinstance(value, Null) and value.kind == "list":
            raise Bad(f"index out of range: {_whole(key)}")
        elif value is None or isinstance(value, Null):
            raise Bad("index of nil pointer")
        else:
            raise Bad(f"can't index item of type {type_name(value)}")
    return value


def _slice(value: object, *bounds: object) -> object:
    if not isinstance(value, (list, str)):
        raise Bad(f"can't slice item of type {type_name(value)}")
    limits = [_whole(bound) for bound in bounds]
    start = limits[0] if limits else 0
    end = limits[1] if len(limits) > 1 else len(value)
    if not 0 <= start <= end <= len(value):
        raise Bad(f"index out of range: {end if end > len(value) else start}")
    return value[start:end]


def _kind(value: object) -> str:
    kinds = ((bool, "bool"), (int, "int"), (float, "float"), (str, "string"))
    for kind, name in kinds:
        if isinstance(value, kind):
            return name
    if value is None or (isinstance(value, Null) and value.kind == "pointer"):
        return "nil"
    raise Bad(f"non-comparable type {show(value)}: {type_name(value)}")


def _same(left: object, right: object) -> bool:
    first, second = _kind(left), _kind(right)
    if first == second == "nil":
        return True
    if first != second and "nil" not in (first, second):
        if {first, second} == {"int", "float"}:
            return left == right
        raise Bad("incompatible types for comparison")
    return left == right


def _eq(left: object, *others: object) -> bool:
    return True in [_same(left, other) for other in others]


def _ne(left: object, right: object) -> bool:
    return not _same(left, right)


def _less(left: object, right: object) -> bool:
    if isinstance(left, bool) or isinstance(right, bool):
        raise Bad("invalid type for comparison")
    if isinstance(left, str) and isinstance(right, str):
        return left < right
    if isinstance(left, (int, float)) and isinstance(right, (int, float)):
        return left < right
    raise Bad("incompatible types for comparison")


def _html(value: object) -> str:
    pairs = (("&", "&amp;"), ('"', "&#34;"), ("'", "&#39;"), ("<", "&lt;"), (">", "&gt;"))
    text = show(value)
    for char, name in pairs:
        text = text.replace(char, name)
    return text


def _urlquery(value: object) -> str:
    from pier_cli.engine import quote

    return quote(show(value), frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"))


# name: (function, fewest arguments, most; -1 for any number)
FUNCTIONS: dict[str, tuple[Callable[..., object], int, int]] = {
    "json": (_json, 1, 1),
    "upper": (lambda text: _text(text).upper(), 1, 1),
    "lower": (lambda text: _text(text).lower(), 1, 1),
    "title": (_title, 1, 1),
    "join": (_join, 2, 2),
    "split": (_split, 2, 2),
    "pad": (_pad, 3, 3),
    "truncate": (_truncate, 2, 2),
    "print": (_print, 0, -1),
    "println": (_println, 0, -1),
    "printf": (_printf, 1, -1),
    "len": (_len, 1, 1),
    "index": (_index, 1, -1),
    "slice": (_slice, 1, 3),
    "eq": (_eq, 2, -1),
    "ne": (_ne, 2, 2),
    "lt": (_less, 2, 2),
    "le": (lambda left, right: not _less(right, left), 2, 2),
    "gt": (lambda left, right: _less(right, left), 2, 2),
    "ge": (lambda left, right: not _less(left, right), 2, 2),
    "not": (lambda value: not truth(value), 1, 1),
    "html": (_html, 1, 1),
    "urlquery": (_urlquery, 1, 1),
}
NAMES = frozenset((*FUNCTIONS, "and", "or"))
