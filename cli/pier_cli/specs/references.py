"""Image references: ``[HOST[:PORT]/]PATH[:TAG][@DIGEST]``, docker's short names included."""

from __future__ import annotations

_DOMAIN = "docker.io"
_LOWER = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")


class Reference:
    """``name`` is the familiar name (``busybox``, ``127.0.0.1:5000/a``); ``tag`` and ``digest`` may be ""."""

    __slots__ = ("digest", "domain", "path", "tag")

    def __init__(self, domain: str, path: str, tag: str, digest: str) -> None:
        self.domain = domain
        self.path = path
        self.tag = tag
        self.digest = digest

    @property
    def name(self) -> str:
        if self.domain == _DOMAIN:
            return self.path.removeprefix("library/")
        return f"{self.domain}/{self.path}"

    def tagged(self) -> Reference:
        """With the tag ``latest`` where neither tag nor digest was given."""
        return self if self.tag or self.digest else Reference(self.domain, self.path, "latest", "")

    def __str__(self) -> str:
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse(text: str) -> Reference:
    """ValueError with docker's words where ``text`` is no reference."""
    bad = ValueError("invalid reference format")
    if len(text) == 64 and all(char in "0123456789abcdef" for char in text):
        raise ValueError(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    rest, at, digest = text.partition("@")
    if at and not _is_digest(digest):
        raise bad
    head, slash, tail = rest.partition("/")
    if slash and ("." in head or ":" in head or head == "localhost" or head != head.lower()):
        domain, path = ("docker.io" if head == "index.docker.io" else head), tail
    else:
        domain, path = _DOMAIN, rest
    name, colon, tag = path.rpartition(":")
    if not colon or "/" in tag:
        name, tag, colon = path, "", ""
    if domain == _DOMAIN and "/" not in name:
        name = f"library/{name}"
    if colon and not _is_tag(tag):
        raise bad
    if name != name.lower() and all(map(_is_component, name.lower().split("/"))):
        raise ValueError(f"invalid reference format: repository name ({name}) must be lowercase")
    if not all(map(_is_component, name.split("/"))) or len(name) > 255 or not _is_domain(domain):
        raise bad
    return Reference(domain, name, tag, digest)


def _is_component(text: str) -> bool:
    if not text or text[0] not in _LOWER or text[-1] not in _LOWER:
        return False
    separator = ""
    for char in text:
        if char in _LOWER:
            if separator and not (separator in (".", "_", "__") or set(separator) == {"-"}):
                return False
            separator = ""
        elif char in "._-":
            separator += char
        else:
            return False
    return True


def _is_domain(text: str) -> bool:
    host, colon, port = text.rpartition(":")
    if not colon or "]" in port:
        host, port = text, "0"
    if not (port.isascii() and port.isdigit()):
        return False
    if host.startswith("["):
        return host.endswith("]")
    letters = _WORD - {"_"} | {"-"}
    return all(part and part[0] != "-" and part[-1] != "-" and set(part) <= letters for part in host.split("."))


def _is_tag(text: str) -> bool:
    return 0 < len(text) <= 128 and text[0] in _WORD and all(char in _WORD or char in ".-" for char in text)


def _is_digest(text: str) -> bool:
    algorithm, colon, value = text.partition(":")
    return bool(colon and algorithm) and len(value) >= 32 and all(char in "0123456789abcdefABCDEF" for char in value)
