"""What ends a command: a message for the standard error, and an exit code."""

from __future__ import annotations


class Failure(Exception):
    """The command cannot go on. ``message`` is printed as it is, ``code`` is the exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class UsageError(Failure):
    """A flag that does not exist or whose value is wrong: printed with the command's usage line."""

    def __init__(self, message: str) -> None:
        super().__init__(message, 125)


class Plain(Failure):
    """Printed as it is, with its own exit code, where other errors of ``run`` name the command."""


class EngineError(Failure):
    """The engine answered with an error. ``status`` is the HTTP status, ``text`` the message of the engine alone."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"Error response from daemon: {text}")
        self.status = status
        self.text = text


class Unreachable(Failure):
    """No engine answers at the address."""
