"""The published schema (Swagger 2.0): its operations, and whether an answer fits the one that is declared.

The file is Debian's, of the docker that the suite compares with (deploy/packages/unpack.txt); ``PIER_TEST_API_SCHEMA``
names another, of a newer API.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import jsonschema
import yaml

from tests import tools
from tests.e2e.wire import Answer

_PATH: Final = tools.PROJECT / "build/debian/usr/share/gocode/src/github.com/docker/docker/api/swagger.yaml"
_METHODS: Final = ("get", "head", "post", "put", "delete")
_NIL: Final = ("array", "object")


@dataclass(frozen=True)
class Operation:
    """``parameters`` are names of the query's; ``body`` is the schema of the request's, None where it has none."""

    id: str
    method: str
    path: str
    parameters: tuple[str, ...]
    body: Mapping[str, Any] | None
    responses: Mapping[int, Mapping[str, Any]]


class Schema:
    def __init__(self, path: Path | None = None) -> None:
        text = Path(path or os.environ.get("PIER_TEST_API_SCHEMA") or _PATH).read_bytes()
        self._document: dict[str, Any] = yaml.load(text, yaml.CSafeLoader)
        self.version = str(self._document["info"]["version"])

    @cached_property
    def operations(self) -> Mapping[str, Operation]:
        return {each.id: each for each in self._read()}

    def wrong(self, id_: str, answer: Answer) -> list[str]:
        """What in ``answer`` the operation does not declare; empty where it fits."""
        declared = self.operations[id_].responses
        if answer.status not in declared:
            return [f"{id_}: {answer.status} is not declared: {answer.body[:300]!r}"]
        schema = declared[answer.status].get("schema")
        if schema is None or schema.get("format") == "binary":
            return []
        if schema.get("type") == "string" and "json" not in answer.headers.get("content-type", ""):
            return []
        try:
            values = [answer.json]
        except ValueError:
            values = answer.objects  # a stream
        validator = jsonschema.Draft4Validator({**_with_nil(schema), "definitions": self._definitions})
        return [
            f"{id_}: {'.'.join(map(str, error.absolute_path))}: {error.message[:300]}"
            for value in values for whole in validator.iter_errors(value) for error in _innermost(whole)
        ]

    @cached_property
    def _definitions(self) -> dict[str, Any]:
        return {name: _with_nil(each) for name, each in self._document["definitions"].items()}

    def _read(self) -> Iterator[Operation]:
        for path, item in self._document["paths"].items():
            for method in _METHODS:
                if method in item:
                    yield _operation(method.upper(), path, item[method])


def _operation(method: str, path: str, made: Mapping[str, Any]) -> Operation:
    parameters = made.get("parameters", ())
    return Operation(
        made["operationId"], method, path, tuple(each["name"] for each in parameters if each["in"] == "query"),
        next((each["schema"] for each in parameters if each["in"] == "body"), None),
        {int(status): response for status, response in made["responses"].items()},
    )


def _innermost(error: jsonschema.ValidationError) -> Iterator[jsonschema.ValidationError]:
    """What is wrong in the value itself, where a choice between it and null was refused."""
    if error.validator != "anyOf" or error.instance is None:
        yield error
        return
    for inner in error.context:
        if inner.schema_path[0] == 0:
            yield from _innermost(inner)


def _with_nil(schema: Any) -> Any:
    """``schema`` as JSON Schema of draft 4, with null where Go writes it: for lists and maps that were never made, and
    for what is marked so."""
    if isinstance(schema, list):
        return [_with_nil(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return {"anyOf": [{"$ref": schema["$ref"]}, {"type": "null"}]}
    made = {key: _with_nil(value) for key, value in schema.items() if key not in ("example", "description", "default")}
    kind = schema.get("type")
    if isinstance(kind, str) and (kind in _NIL or schema.get("x-nullable")):
        made["type"] = [kind, "null"]
        if "enum" in made:
            made["enum"] = [*made["enum"], None]
    return made
