"""The error of templates."""

from __future__ import annotations


class TemplateError(Exception):
    """The template cannot be parsed (``parsing`` is true) or does not fit the data; the text is Go's."""

    def __init__(self, message: str, parsing: bool = False) -> None:
        super().__init__(message)
        self.parsing = parsing
