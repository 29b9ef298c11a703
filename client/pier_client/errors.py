"""What a call that fails raises."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import grpc
from google.rpc import error_details_pb2, status_pb2

_DETAILS: Final = "grpc-status-details-bin"
_DOMAIN: Final = "pier"


class PierError(Exception):
    """``code`` is gRPC's ("NOT_FOUND"), ``reason`` tells apart errors of one code ("NO_SUCH_IMAGE"), ``field`` is the
    request's field at fault, ``expected`` what would have been right; "" where there is none. ``facts`` are further
    values, such as "holder", the id that has a taken name."""

    def __init__(self, code: str, message: str, reason: str = "", facts: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = reason or code
        self.facts = dict(facts or {})
        self.field = self.facts.pop("field", "")
        self.expected = self.facts.pop("expected", "")

    @property
    def is_temporary(self) -> bool:
        """The same call may go well later: a service does not answer now."""
        return self.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED")


def of_rpc(error: Any) -> PierError:
    """The error in a ``grpc.RpcError``."""
    code, message = error.code().name, error.details() or error.code().name
    for key, value in _pairs(error.trailing_metadata()):
        if key != _DETAILS:
            continue
        for packed in status_pb2.Status.FromString(value).details:
            info = error_details_pb2.ErrorInfo()
            if packed.Unpack(info) and info.domain == _DOMAIN:
                return PierError(code, message, info.reason, dict(info.metadata))
    return PierError(code, message)


@contextmanager
def told() -> Iterator[None]:
    """A ``grpc.RpcError`` in the block becomes a PierError."""
    try:
        yield
    except grpc.RpcError as error:
        raise of_rpc(error) from None


def _pairs(metadata: Iterable[Any] | None) -> Iterator[tuple[str, bytes]]:
    for pair in metadata or ():
        yield pair[0], pair[1]
