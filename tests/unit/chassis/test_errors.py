"""The error classes: one table of class, gRPC code, HTTP status and exit code, and its way over the wire."""

import base64
from urllib.parse import quote

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis import errors
from chassis.status import from_rpc_error, to_status

TABLE = {
    "InvalidArgument": ("INVALID_ARGUMENT", 400, 125),
    "Unauthenticated": ("UNAUTHENTICATED", 401, 1),
    "PermissionDenied": ("PERMISSION_DENIED", 403, 1),
    "NotFound": ("NOT_FOUND", 404, 1),
    "AlreadyExists": ("ALREADY_EXISTS", 409, 125),
    "Conflict": ("FAILED_PRECONDITION", 409, 1),
    "NotModified": ("FAILED_PRECONDITION", 304, 0),
    "Aborted": ("ABORTED", 409, 1),
    "ResourceExhausted": ("RESOURCE_EXHAUSTED", 500, 125),
    "DeadlineExceeded": ("DEADLINE_EXCEEDED", 503, 1),
    "Unavailable": ("UNAVAILABLE", 503, 1),
    "Unimplemented": ("UNIMPLEMENTED", 501, 125),
    "DataLoss": ("DATA_LOSS", 500, 1),
    "Internal": ("INTERNAL", 500, 1),
}


def test_the_table_of_classes_is_as_documented():
    assert {cls.__name__: (cls.grpc_code, cls.http_status, cls.exit_code) for cls in errors.ALL} == TABLE


def rpc_error(code, metadata, details):
    none = grpc.aio.Metadata()
    return grpc.aio.AioRpcError(code, none, grpc.aio.Metadata(*metadata), details, "")


words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=40)


@given(st.sampled_from(errors.ALL), words, words, words)
def test_an_error_comes_back_from_the_wire_as_it_went(cls, message, field, expected):
    code, details, metadata = to_status(cls(message, field=field, expected=expected, facts={"holder": "x"}))
    received = from_rpc_error(rpc_error(code, metadata, details))
    assert type(received) is cls
    assert (received.message, received.field, received.expected) == (message or code.name, field, expected)
    assert received.facts == {"holder": "x"}


@given(st.text(min_size=1, max_size=20), st.text(max_size=20))
def test_what_is_long_is_cut_so_that_all_of_it_fits_into_metadata(message, fact):
    message, fact = message * 5000, fact * 100
    error = errors.NotFound(message, field=fact, expected=fact, facts={f"{number}{fact}": fact for number in range(50)})
    code, details, metadata = to_status(error)
    ((_, status),) = metadata
    assert isinstance(status, bytes)
    told = len(quote(details)) + len(base64.b64encode(status))
    assert told < (64 << 10) - (24 << 10), "the trace has its room beside it"
    received = from_rpc_error(rpc_error(code, metadata, details))
    assert received.message.endswith("…")
    assert message.encode("utf-8", "replace").startswith(received.message.removesuffix("…").encode()[:4000])


def test_a_code_without_details_becomes_the_first_class_of_that_code():
    received = from_rpc_error(rpc_error(grpc.StatusCode.FAILED_PRECONDITION, (), "no"))
    assert type(received) is errors.Conflict


def test_a_cancelled_call_is_aborted():
    assert errors.from_grpc("CANCELLED", "gone").reason == "CANCELLED"


@pytest.mark.parametrize("cls", errors.ALL)
def test_a_reason_is_given_to_every_error(cls):
    assert cls("text").reason == cls.default_reason
    assert cls("text", reason="OTHER").reason == "OTHER"
