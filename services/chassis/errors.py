"""The error classes of Pier, one for each action that a caller can take, and what each becomes at every border.

A service raises these and nothing else across a border. ``chassis.server`` turns one into a gRPC status that carries
``google.rpc.ErrorInfo{reason, domain="pier", metadata{field, expected}}``; ``chassis.client`` turns it back; the REST
face takes the HTTP status, the command the exit code. The class decides, the message explains, the reason (an
UPPER_SNAKE word that never changes) lets a program tell apart two errors of one class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final


class PierError(Exception):
    """Base of all errors that may cross a border.

    ``field`` names the offending field in the words of the message's schema ("spec.resources.memory"), ``expected``
    says what would have been right; both are "" where no field is at fault. ``facts`` are further values for programs
    (the id that holds a taken name).
    """

    grpc_code: ClassVar[str] = "INTERNAL"
    http_status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1
    default_reason: ClassVar[str] = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        field: str = "",
        expected: str = "",
        facts: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.field = field
        self.expected = expected
        self.facts = dict(facts or {})


class InvalidArgument(PierError):
    """The request itself is wrong; the same call will never succeed."""

    grpc_code, http_status, exit_code, default_reason = "INVALID_ARGUMENT", 400, 125, "INVALID_ARGUMENT"


class Unauthenticated(PierError):
    """Who calls is not known: give credentials."""

    grpc_code, http_status, exit_code, default_reason = "UNAUTHENTICATED", 401, 1, "UNAUTHENTICATED"


class PermissionDenied(PierError):
    """The caller is known and may not do this; or the thing refuses it always (a predefined network)."""

    grpc_code, http_status, exit_code, default_reason = "PERMISSION_DENIED", 403, 1, "PERMISSION_DENIED"


class NotFound(PierError):
    """No such thing: make or pull it first."""

    grpc_code, http_status, exit_code, default_reason = "NOT_FOUND", 404, 1, "NOT_FOUND"


class AlreadyExists(PierError):
    """The id or name is taken by something else: choose another."""

    grpc_code, http_status, exit_code, default_reason = "ALREADY_EXISTS", 409, 125, "ALREADY_EXISTS"


class Conflict(PierError):
    """The thing is in a state that forbids this: change its state first (stop it, unpause it)."""

    grpc_code, http_status, exit_code, default_reason = "FAILED_PRECONDITION", 409, 1, "CONFLICT"


class NotModified(PierError):
    """It already is as asked (started, stopped): nothing to do."""

    grpc_code, http_status, exit_code, default_reason = "FAILED_PRECONDITION", 304, 0, "NOT_MODIFIED"


class Aborted(PierError):
    """Somebody else's operation was in the way, or the caller cancelled: try again."""

    grpc_code, http_status, exit_code, default_reason = "ABORTED", 409, 1, "ABORTED"


class ResourceExhausted(PierError):
    """Disk, addresses, ports or a queue are used up: free some."""

    grpc_code, http_status, exit_code, default_reason = "RESOURCE_EXHAUSTED", 500, 125, "RESOURCE_EXHAUSTED"


class DeadlineExceeded(PierError):
    """Not done within the caller's deadline; it may still be done later."""

    grpc_code, http_status, exit_code, default_reason = "DEADLINE_EXCEEDED", 503, 1, "DEADLINE_EXCEEDED"


class Unavailable(PierError):
    """A service, registry or shim does not answer now: try again later."""

    grpc_code, http_status, exit_code, default_reason = "UNAVAILABLE", 503, 1, "UNAVAILABLE"


class Unimplemented(PierError):
    """Pier does not do this (yet), or this platform cannot."""

    grpc_code, http_status, exit_code, default_reason = "UNIMPLEMENTED", 501, 125, "UNIMPLEMENTED"


class DataLoss(PierError):
    """What was stored or received is not what was promised (a digest differs)."""

    grpc_code, http_status, exit_code, default_reason = "DATA_LOSS", 500, 1, "DATA_LOSS"


class Internal(PierError):
    """A fault of Pier's own, or of the runtime below it."""


ALL: Final[tuple[type[PierError], ...]] = (
    InvalidArgument, Unauthenticated, PermissionDenied, NotFound, AlreadyExists, Conflict, NotModified, Aborted,
    ResourceExhausted, DeadlineExceeded, Unavailable, Unimplemented, DataLoss, Internal,
)
"""Every class. The first with a given gRPC code is what that code means when it comes without a reason."""


def from_grpc(
    code: str,
    message: str,
    *,
    reason: str = "",
    field: str = "",
    expected: str = "",
    facts: Mapping[str, str] | None = None,
) -> PierError:
    """The error that ``code`` (a ``grpc.StatusCode`` name) with ``reason`` stands for.

    NotModified shares its gRPC code with Conflict and is told apart by its reason alone.
    """
    if code == "FAILED_PRECONDITION" and reason == NotModified.default_reason:
        return NotModified(message, reason=reason, field=field, expected=expected, facts=facts)
    if code == "CANCELLED":
        return Aborted(message, reason=reason or "CANCELLED")
    for cls in ALL:
        if cls.grpc_code == code:
            return cls(message, reason=reason, field=field, expected=expected, facts=facts)
    return Internal(message, reason=reason, field=field, expected=expected, facts=facts)


def system_words(error: OSError) -> str:
    """What the system says of ``error``, in lower case as Docker prints it: its command looks for the words."""
    return (error.strerror or str(error)).lower()
