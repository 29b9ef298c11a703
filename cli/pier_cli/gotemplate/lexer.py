"""A template's text as tokens."""

from __future__ import annotations

from pier_cli.gotemplate.errors import TemplateError

_SPACE = " \t\r\n"
_SIMPLE = {"\\": "\\", '"': '"', "'": "'", "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


class Token:
    """``kind``: text, field (".Name"), variable ("$x"), word, string, number, char, open, close, dot, space, or a sign
    as itself ("|", "(", ":="). ``value`` is the token's meaning, ``source`` its spelling, ``at`` its offset."""

    __slots__ = ("at", "kind", "source", "value")

    def __init__(self, kind: str, source: str, at: int, value: object = None) -> None:
        self.kind = kind
        self.source = source
        self.at = at
        self.value = source if value is None else value


def line_of(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def tokens(text: str, name: str) -> list[Token]:
    """All tokens of ``text``; actions stand between an "open" and a "close"."""
    found: list[Token] = []
    position = 0
    trim = False
    while True:
        start = text.find("{{", position)
        piece = text[position:] if start < 0 else text[position:start]
        if trim:
            piece = piece.lstrip(_SPACE)
        if start < 0:
            if piece:
                found.append(Token("text", piece, position))
            return found
        position = start + 2
        if text.startswith("-", position) and text[position + 1: position + 2] in tuple(_SPACE):
            piece = piece.rstrip(_SPACE)
            position += 2
        if piece:
            found.append(Token("text", piece, start))
        if text.startswith("/*", position):
            position, trim = _comment(text, name, position)
            continue
        found.append(Token("open", "{{", start))
        position, trim = _action(text, name, position, found)


def _fail(text: str, name: str, at: int, message: str) -> TemplateError:
    return TemplateError(f"template: {name}:{line_of(text, at)}: {message}", parsing=True)


def _comment(text: str, name: str, position: int) -> tuple[int, bool]:
    end = text.find("*/", position)
    if end < 0:
        raise _fail(text, name, position, "unclosed comment")
    end += 2
    trim = text[end: end + 1] in tuple(_SPACE) and text.startswith("-}}", end + 1)
    end += 2 if trim else 0
    if not text.startswith("}}", end):
        raise _fail(text, name, end, "comment ends before closing delimiter")
    return end + 2, trim


def _action(text: str, name: str, position: int, found: list[Token]) -> tuple[int, bool]:
    """Tokens up to the closing delimiter; the position after it, and whether what follows loses its leading space."""
    depth = 0
    while True:
        if text.startswith("}}", position):
            if depth:
                raise _fail(text, name, position, "unclosed left paren")
            found.append(Token("close", "}}", position))
            return position + 2, False
        if position >= len(text):
            raise _fail(text, name, position, "unclosed action")
        char = text[position]
        if char in _SPACE:
            start = position
            while text[position: position + 1] in tuple(_SPACE):
                position += 1
            if text.startswith("-}}", position):
                if depth:
                    raise _fail(text, name, position, "unclosed left paren")
                found.append(Token("close", "-}}", position))
                return position + 3, True
            found.append(Token("space", " ", start))
            continue
        if char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
            if depth < 0:
                raise _fail(text, name, position, "unexpected right paren")
        token = _token(text, name, position)
        found.append(token)
        position += len(token.source)


def _word_end(text: str, position: int) -> int:
    while position < len(text) and (text[position] == "_" or text[position].isalnum()):
        position += 1
    return position


def _token(text: str, name: str, at: int) -> Token:
    char = text[at]
    if text.startswith(":=", at):
        return Token(":=", ":=", at)
    if char in "|(),=":
        return Token(char, char, at)
    if char in '"`':
        return _string(text, name, at)
    if char == "'":
        return _char(text, name, at)
    following = text[at + 1: at + 2]
    if char == ".":
        if following.isdigit():
            return _number(text, name, at)
        end = _word_end(text, at + 1)
        return Token("field" if end > at + 1 else "dot", text[at:end], at, text[at + 1: end] or ".")
    if char == "$":
        end = _word_end(text, at + 1)
        return Token("variable", text[at:end], at)
    if char.isdigit() or (char in "+-" and (following.isdigit() or following == ".")):
        return _number(text, name, at)
    if char == "_" or char.isalnum():
        return Token("word", text[at: _word_end(text, at)], at)
    raise _fail(text, name, at, f"unexpected {_quote(char)} in command" if char.isprintable()
                else f"unrecognized character in action: U+{ord(char):04X}")


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _number(text: str, name: str, at: int) -> Token:
    end = at + 1
    while end < len(text) and (
        text[end].isalnum() or text[end] in "._" or (text[end] in "+-" and text[end - 1] in "eE")
    ):
        end += 1
    source = text[at:end]
    value: object
    try:
        value = int(source, 0) if not source.lstrip("+-").startswith("0") or "x" in source.lower() else int(source, 10)
    except ValueError:
        try:
            value = float(source)
        except ValueError:
            raise _fail(text, name, at, f"bad number syntax: {_quote(source)}") from None
    return Token("number", source, at, value)


def _string(text: str, name: str, at: int) -> Token:
    mark = text[at]
    if mark == "`":
        end = text.find("`", at + 1)
        if end < 0:
            raise _fail(text, name, at, "unterminated raw quoted string")
        return Token("string", text[at: end + 1], at, text[at + 1: end])
    end = at + 1
    while text[end: end + 1] != mark:
        if end >= len(text) or text[end] == "\n":
            raise _fail(text, name, at, "unterminated quoted string")
        end += 2 if text[end] == "\\" else 1
    return Token("string", text[at: end + 1], at, _unescape(text, name, at, text[at + 1: end]))


def _char(text: str, name: str, at: int) -> Token:
    end = at + 1
    while text[end: end + 1] != "'":
        if end >= len(text) or text[end] == "\n":
            raise _fail(text, name, at, "unterminated character constant")
        end += 2 if text[end] == "\\" else 1
    value = _unescape(text, name, at, text[at + 1: end])
    if len(value) != 1:
        raise _fail(text, name, at, f"malformed character constant: {text[at: end + 1]}")
    return Token("char", text[at: end + 1], at, ord(value))


def _unescape(text: str, name: str, at: int, body: str) -> str:
    out = []
    position = 0
    while position < len(body):
        char = body[position]
        position += 1
        if char != "\\":
            out.append(char)
            continue
        letter = body[position: position + 1]
        position += 1
        if letter in _SIMPLE and letter:
            out.append(_SIMPLE[letter])
            continue
        size = {"x": 2, "u": 4, "U": 8}.get(letter, 3)
        start = position if letter in ("x", "u", "U") else position - 1
        digits = body[start: start + size]
        try:
            if len(digits) != size:
                raise ValueError
            out.append(chr(int(digits, 16 if letter in ("x", "u", "U") else 8)))
        except (ValueError, OverflowError):
            raise _fail(text, name, at, "invalid syntax") from None
        position = start + size
    return "".join(out)
