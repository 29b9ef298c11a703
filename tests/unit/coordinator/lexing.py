"""Words as tests read them."""

from coordinator.dockerfile.words import Lexer


def split(text, variables, escape="\\"):
    return list(Lexer(escape).read(text, variables).words)


def expand(text, variables, escape="\\"):
    return Lexer(escape).read(text, variables).text


def document(text, variables):
    """A heredoc's: quotes mean nothing."""
    return Lexer(quotes=False).read(text, variables).text
