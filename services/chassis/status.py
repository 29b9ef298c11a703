"""PierError ↔ gRPC status with ``google.rpc.ErrorInfo``, for server and client alike.

The detail is what a client in any language reads: ``reason``, ``domain`` "pier", ``metadata`` field and expected.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from chassis.errors import PierError, from_grpc

DETAILS_KEY: Final = "grpc-status-details-bin"
DOMAIN: Final = "pier"

Metadata = tuple[tuple[str, str | bytes], ...]

_MESSAGE: Final = 4096
_FACT: Final = 512
_KEY: Final = 64
_FACTS: Final = 16
"""Bytes of a message, of a fact and its name, and number of facts: what is longer than the client's limit for metadata,
it would not be told at all."""


def to_status(error: PierError) -> tuple[grpc.StatusCode, str, Metadata]:
    """Code, message and trailing metadata that say ``error``; what is long in it is cut."""
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)
    for key in ("field", "expected"):
        if value := getattr(error, key):
            info.metadata[key] = _cut(value, _FACT)
    for key, value in list(error.facts.items())[:_FACTS]:
        info.metadata[_cut(key, _KEY)] = _cut(value, _FACT)
    packed = any_pb2.Any()
    packed.Pack(info)
    message = _cut(error.message, _MESSAGE)
    status = status_pb2.Status(code=code_pb2.Code.Value(error.grpc_code), message=message, details=[packed])
    return grpc.StatusCode[error.grpc_code], message, ((DETAILS_KEY, status.SerializeToString()),)


def _cut(text: str, longest: int) -> str:
    """``text`` within ``longest`` bytes of UTF-8."""
    data = text.encode("utf-8", "replace")
    return data.decode() if len(data) <= longest else data[: longest - 3].decode("utf-8", "ignore") + "…"


def from_rpc_error(error: grpc.aio.AioRpcError) -> PierError:
    """The PierError that a peer raised; what is no peer's answer (no connection, deadline) becomes its like."""
    code, message = error.code().name, error.details() or error.code().name
    details = metadata_value(error.trailing_metadata(), DETAILS_KEY)
    if isinstance(details, bytes):
        status = status_pb2.Status.FromString(details)
        for packed in status.details:
            info = error_details_pb2.ErrorInfo()
            if packed.Unpack(info) and info.domain == DOMAIN:
                metadata = dict(info.metadata)
                return from_grpc(
                    code, message, reason=info.reason, field=metadata.pop("field", ""),
                    expected=metadata.pop("expected", ""), facts=metadata,
                )
    return from_grpc(code, message)


def metadata_value(metadata: Iterable[Any] | None, key: str) -> str | bytes | None:
    """The first value under ``key``; grpc hands metadata over as pairs in several shapes."""
    for pair in metadata or ():
        if pair[0] == key:
            value: str | bytes = pair[1]
            return value
    return None
