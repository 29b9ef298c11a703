"""Go's text/template as people write it after ``--format``.

``Template(text).render(data)``: data is made of dicts, lists, strings, numbers, booleans and None, or of ``Fields`` (a
record whose fields are worked out when asked for). Control structures: ``if``/``else if``/``else``, ``range``,
``with``, variables, ``break`` and ``continue``, comments, ``{{-`` and ``-}}``. ``define``, ``template`` and ``block``
are refused. Errors are ``TemplateError`` with Go's words.
"""

from __future__ import annotations

from pier_cli.gotemplate.errors import TemplateError
from pier_cli.gotemplate.evaluate import Evaluator
from pier_cli.gotemplate.parser import parse
from pier_cli.gotemplate.values import Fields, Schema

__all__ = ["Fields", "Schema", "Template", "TemplateError"]


class Template:
    """A parsed template. ``name`` is what its errors say."""

    def __init__(self, text: str, name: str = "") -> None:
        self._name = name
        self._text = text
        self._root = parse(text, name)

    def render(self, data: object, schema: Schema | None = None) -> str:
        """The text for ``data``. With a ``schema`` nulls and absent fields are read as Go's typed values are."""
        return Evaluator(self._name, self._text, schema).run(self._root, data)
