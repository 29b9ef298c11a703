"""What identifies a container in a log: Docker's ``tag`` template, and attributes out of its labels and environment.

A template is text with fields of moby's ``logger.Info`` in ``{{ }}``; of Go's template language no more than
``{{.Name}}`` and ``{{index .ContainerLabels "key"}}``. Source: https://docs.docker.com/engine/logging/log_tags/
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from typing import Final

from chassis.errors import InvalidArgument
from execd.logs.regex import BadPattern, Pattern
from pier.exec.v1 import exec_pb2

ATTRIBUTE_OPTIONS: Final = frozenset({"labels", "labels-regex", "env", "env-regex", "tag"})
DEFAULT: Final = "{{.ID}}"
_FIELD: Final = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}")
_INDEX: Final = re.compile(r'index\s+\.(ContainerLabels|Config)\s+"([^"]*)"')
_FIELDS: Final[Mapping[str, Callable[[exec_pb2.Container], str]]] = {
    ".ID": lambda container: container.id[:12],
    ".FullID": lambda container: container.id,
    ".ContainerID": lambda container: container.id,
    ".Name": lambda container: container.name,
    ".ContainerName": lambda container: f"/{container.name}",
    ".ImageID": lambda container: container.spec.image_id.removeprefix("sha256:")[:12],
    ".ImageFullID": lambda container: container.spec.image_id,
    ".ContainerImageID": lambda container: container.spec.image_id,
    ".ImageName": lambda container: container.spec.image,
    ".ContainerImageName": lambda container: container.spec.image,
    ".DaemonName": lambda _: "docker",
}


def check(options: Mapping[str, str]) -> None:
    """InvalidArgument (BAD_LOG_OPTION) for a template or a pattern that is none."""
    for part in _FIELD.findall(options.get("tag", "")):
        if part not in _FIELDS and not _INDEX.fullmatch(part):
            raise _bad(f"tag: {part[:80]!a} is no field of a log's tag", ", ".join(_FIELDS))
    if "{{" in _FIELD.sub("", options.get("tag", "")):
        raise _bad("tag: a {{ without its }}", "{{.Name}}")
    for name in ("labels-regex", "env-regex"):
        try:
            Pattern(options.get(name, ""))
        except BadPattern as error:
            raise _bad(f"{name}: {error}", "a regular expression as RE2's") from error


def tag(container: exec_pb2.Container, options: Mapping[str, str], default: str = DEFAULT) -> str:
    """The tag, of ``default`` where none was asked for."""

    def value(match: re.Match[str]) -> str:
        if index := _INDEX.fullmatch(match[1]):
            table = container.spec.labels if index[1] == "ContainerLabels" else container.spec.log.options
            return table.get(index[2], "")
        return _FIELDS[match[1]](container)

    return _FIELD.sub(value, options.get("tag") or default)


def attributes(container: exec_pb2.Container, options: Mapping[str, str]) -> dict[str, str]:
    """Labels and variables that the options name."""
    variables = {}
    for entry in container.spec.process.env:
        name, equals, value = entry.partition(b"=")
        if equals:
            variables[os.fsdecode(name)] = os.fsdecode(value)
    found: dict[str, str] = {}
    for option, table in (("labels", dict(container.spec.labels)), ("env", variables)):
        for word in options.get(option, "").split(","):
            if word in table:
                found[word] = table[word]
        if source := options.get(f"{option}-regex"):
            pattern = Pattern(source)
            found |= {word: value for word, value in table.items() if pattern.found_in(word)}
    return found


def record_attributes(container: exec_pb2.Container) -> str:
    """The JSON object that each record of the container's files carries, as Go would write it; "" for none."""
    options = container.spec.log.options
    found = attributes(container, options)
    if container.spec.log.driver in ("", "json-file") and options.get("tag"):
        found["tag"] = tag(container, options)
    if not found:
        return ""
    text = json.dumps(found, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _bad(message: str, expected: str) -> InvalidArgument:
    return InvalidArgument(message, reason="BAD_LOG_OPTION", field="spec.log.options", expected=expected)
