"""Sizes, durations and points in time, as docker reads and writes them."""

from __future__ import annotations

import time

_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_NANOSECONDS = {
    "ns": 1, "us": 1000, "µs": 1000, "μs": 1000, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9,
}
_ZERO_TIME = "0001-01-01T00:00:00Z"


def _scaled(size: float, base: int, names: tuple[str, ...], digits: int) -> str:
    index = 0
    while size >= base and index < len(names) - 1:
        size /= base
        index += 1
    return f"{size:.{digits}g}{names[index]}"


def human_size(size: float, digits: int = 4) -> str:
    """Bytes in powers of 1000: ``1.98MB``."""
    return _scaled(size, 1000, _DECIMAL, digits)


def binary_size(size: float) -> str:
    """Bytes in powers of 1024: ``23.54GiB``."""
    return _scaled(size, 1024, _BINARY, 4)


def _number(text: str) -> float:
    digits = text.replace(".", "", 1)
    if not (digits.isascii() and digits.isdigit()):
        raise ValueError
    return float(text)


def parse_bytes(text: str) -> int:
    """``64m``, ``1.5GiB``, ``100``, ``-1`` as bytes, powers of 1024. ValueError("invalid size: …")."""
    if text == "-1":
        return -1
    word = text.lower()
    unit = word.lstrip("0123456789.")
    value = word[: len(word) - len(unit)]
    unit = unit.lstrip(" ") if value else unit
    if unit.endswith("ib"):
        unit = unit[:-2] if len(unit) > 2 else "?"
    elif unit.endswith("b"):
        unit = unit[:-1]
    try:
        return int(_number(value) * 1024 ** _POWERS[unit])
    except (KeyError, ValueError):
        raise ValueError(f"invalid size: '{text}'") from None


def parse_duration(text: str) -> int:
    """Go's durations (``1h30m``, ``500ms``) in nanoseconds. ValueError with Go's words."""
    bad = ValueError(f'time: invalid duration "{text}"')
    rest = text
    sign = 1
    if rest[:1] in ("-", "+"):
        sign = -1 if rest[0] == "-" else 1
        rest = rest[1:]
    if rest == "0":
        return 0
    if not rest:
        raise bad
    total = 0.0
    while rest:
        digits = 0
        while digits < len(rest) and (rest[digits] in "0123456789."):
            digits += 1
        value = rest[:digits]
        rest = rest[digits:]
        letters = 0
        while letters < len(rest) and rest[letters] not in "0123456789.":
            letters += 1
        unit = rest[:letters]
        rest = rest[letters:]
        try:
            number = _number(value)
        except ValueError:
            raise bad from None
        if not unit:
            raise ValueError(f'time: missing unit in duration "{text}"')
        if unit not in _NANOSECONDS:
            raise ValueError(f'time: unknown unit "{unit}" in duration "{text}"')
        total += number * _NANOSECONDS[unit]
    return sign * round(total)


def human_duration(seconds: float) -> str:
    """How long, roughly: ``Less than a second``, ``5 minutes``, ``About an hour``, ``3 weeks``."""
    if seconds < 1:
        return "Less than a second"
    whole = int(seconds)
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    minutes = int(seconds / 60)
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    hours = int(seconds / 3600 + 0.5)
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    if hours < 24 * 7 * 2:
        return f"{hours // 24} days"
    if hours < 24 * 30 * 2:
        return f"{hours // 24 // 7} weeks"
    if hours < 24 * 365 * 2:
        return f"{hours // 24 // 30} months"
    return f"{int(seconds / 3600) // 24 // 365} years"


def ago(seconds_since_epoch: float) -> str:
    return human_duration(time.time() - seconds_since_epoch) + " ago"


def _zone(offset: int) -> str:
    sign = "-" if offset < 0 else "+"
    return f"{sign}{abs(offset) // 3600:02}{abs(offset) % 3600 // 60:02}"


def local_time(seconds: int) -> str:
    """Go's default form of a time in the local zone: ``2026-11-25 02:03:03 +0000 UTC``."""
    parts = time.localtime(seconds)
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', parts)} {_zone(parts.tm_gmtoff)} {parts.tm_zone}"


def local_stamp(nanoseconds: int) -> str:
    """RFC 3339 with nine digits in the local zone, as ``events`` prints it."""
    seconds, rest = divmod(nanoseconds, 10**9)
    parts = time.localtime(seconds)
    offset = _zone(parts.tm_gmtoff)
    zone = f"{offset[:3]}:{offset[3:]}" if parts.tm_gmtoff else "Z"
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', parts)}.{rest:09}{zone}"


def go_time(stamp: str) -> str:
    """An RFC 3339 stamp as Go prints a time in UTC: ``2026-11-25 02:02:48.744333539 +0000 UTC``."""
    date, _, clock = stamp.partition("T")
    if clock.endswith("Z"):
        return f"{date} {clock[:-1]} +0000 UTC"
    body, zone = clock[:-6], clock[-6:]
    name = zone.replace(":", "")
    return f"{date} {body} {name} {'UTC' if name == '+0000' else name}"


def epoch_days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 in the Gregorian calendar (``calendar`` and ``datetime`` cost milliseconds to import)."""
    year -= month <= 2
    era, year_of_era = divmod(year, 400)
    day_of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719468


def parse_stamp(text: str) -> int:
    """Nanoseconds since the epoch of an RFC 3339 stamp, whose parts from the right may be missing (a date alone is
    midnight); without a zone it is local time. ValueError where it is none."""
    date, separator, clock = text.partition("T")
    if not separator:
        date, separator, clock = text.partition(" ")
    year, month, day = (_field(part, size) for part, size in zip(_exactly(date.split("-"), 3), (4, 2, 2), strict=True))
    if not (1 <= month <= 12 and 1 <= day <= 31):
        raise ValueError(text)
    offset: int | None = None
    if clock.endswith(("Z", "z")):
        clock, offset = clock[:-1], 0
    elif len(clock) > 6 and clock[-6] in "+-" and clock[-3] == ":":
        sign = -1 if clock[-6] == "-" else 1
        offset = sign * (_field(clock[-5:-3], 2) * 3600 + _field(clock[-2:], 2) * 60)
        clock = clock[:-6]
    clock, _, fraction = clock.partition(".")
    hour, minute, second = [*(_field(part, 2) for part in clock.split(":") if clock), 0, 0, 0][:3]
    if clock.count(":") > 2 or hour > 23 or minute > 59 or second > 60:
        raise ValueError(text)
    nanoseconds = _field((fraction + "000000000")[:9], 9) if fraction else 0
    if offset is None:
        seconds = int(time.mktime((year, month, day, hour, minute, second, 0, 0, -1)))
    else:
        seconds = epoch_days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset
    return seconds * 10**9 + nanoseconds


def _exactly(parts: list[str], count: int) -> list[str]:
    if len(parts) != count:
        raise ValueError("-".join(parts))
    return parts


def _field(text: str, size: int) -> int:
    if len(text) != size or not (text.isascii() and text.isdigit()):
        raise ValueError(text)
    return int(text)


def timestamp(text: str) -> str:
    """What ``--since`` and ``--until`` send: seconds with nine digits after the point. ``text`` is a duration before
    now, an RFC 3339 stamp, or seconds. ValueError with docker's words."""
    try:
        if text == "0":
            raise ValueError  # the epoch, not no time before now
        nanoseconds = time.time_ns() - parse_duration(text)
    except ValueError:
        whole, _, fraction = text.partition(".")
        if whole.lstrip("-").isdigit() and (not fraction or fraction.isdigit()):
            return f"{whole}.{(fraction + '000000000')[:9]}"
        try:
            nanoseconds = parse_stamp(text)
        except (ValueError, OverflowError):
            raise ValueError(f'failed to parse value as time or duration: "{text}"') from None
    return f"{nanoseconds // 10**9}.{nanoseconds % 10**9:09}"
