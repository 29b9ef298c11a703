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
from pier_cli.gotemplate.values import Fields

__all__ = ["Fields", "Template", "TemplateError"]


class Template:
    """A parsed template. ``name`` is what its errors say."""

    def __init__(self, text: str, name: str = "") -> None:
        self._name = name
        self._text = text
        self._root = parse(text, name)

    def render(self, data: object) -> str:
        return Evaluator(self._name, self._text).run(self._root, data)
