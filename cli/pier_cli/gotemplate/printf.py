"""Go's Printf verbs: %v %+v %s %q %d %x %X %o %b %c %t %f %e %g %%, with flags, width and precision."""

from __future__ import annotations

from pier_cli.gotemplate.values import show, type_name

_LIMIT = 1 << 16


def quoted(text: str) -> str:
    """``text`` as Go's strconv.Quote writes it."""
    out = ['"']
    plain = {
        "\\": "\\\\", '"': '\\"', "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t",
        "\v": "\\v",
    }
    for char in text:
        if char in plain:
            out.append(plain[char])
        elif char.isprintable():
            out.append(char)
        elif 0xDC80 <= ord(char) <= 0xDCFF:
            out.append(f"\\x{ord(char) - 0xDC00:02x}")
        elif ord(char) < 0x80:
            out.append(f"\\x{ord(char):02x}")
        else:
            out.append(f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}")
    return "".join(out) + '"'


def sprintf(layout: str, values: list[object]) -> str:
    """``layout`` filled with ``values``; what does not fit is marked as Go marks it (``%!d(string=x)``)."""
    out = []
    used = 0
    position = 0
    while position < len(layout):
        char = layout[position]
        position += 1
        if char != "%":
            out.append(char)
            continue
        start = position
        while position < len(layout) and layout[position] in "+-# 0123456789.":
            position += 1
        if position >= len(layout):
            out.append("%!(NOVERB)")
            break
        options, verb = layout[start:position], layout[position]
        position += 1
        if verb == "%":
            out.append("%")
        elif used >= len(values):
            out.append(f"%!{verb}(MISSING)")
        else:
            out.append(_one(verb, options, values[used]))
            used += 1
    if used < len(values):
        extra = ", ".join(f"{type_name(value)}={show(value)}" for value in values[used:])
        out.append(f"%!(EXTRA {extra})")
    return "".join(out)


def _one(verb: str, options: str, value: object) -> str:
    flags = options[: len(options) - len(options.lstrip("+-# 0"))]
    width_text, point, precision_text = options[len(flags):].partition(".")
    width = min(int(width_text), _LIMIT) if width_text.isdigit() else 0
    precision = (min(int(precision_text), _LIMIT) if precision_text.isdigit() else 0) if point else -1
    text = _verb(verb, flags, precision, value)
    if "-" in flags:
        return text.ljust(width)
    if "0" in flags and verb in "dxXobfeg":
        return text.zfill(width)
    return text.rjust(width)


def _verb(verb: str, flags: str, precision: int, value: object) -> str:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if verb == "v":
        return "<nil>" if value is None else show(value)
    if verb == "T":
        return type_name(value)
    if verb == "t" and isinstance(value, bool):
        return show(value)
    if verb in "sq" and isinstance(value, str):
        text = value if precision < 0 else value[:precision]
        return quoted(text) if verb == "q" else text
    if verb == "s" and isinstance(value, (list, dict)):
        return show(value)
    if verb in "dxXob" and whole:
        text = format(value, verb)
        return f"+{text}" if "+" in flags and not text.startswith("-") else text
    if verb == "c" and isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 0x110000:
        return chr(value)
    if verb in "xX" and isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").hex() if verb == "x" else value.encode().hex().upper()
    if verb in "feEgG" and isinstance(value, float):
        return format(value, f"{'+' if '+' in flags else ''}.{precision if precision >= 0 else 6}{verb}") \
            if verb not in "gG" or precision >= 0 else show(value)
    shown = "<nil>" if value is None else f"{type_name(value)}={show(value)}"
    return f"%!{verb}({shown})"
