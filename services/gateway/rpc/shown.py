"""What this face shows of the owners' records: all of it, but for what faces keep there for themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from chassis.errors import InvalidArgument
from coordinator.plans import plan_of
from gateway.projection import stale_since
from pier.engine.v1 import container_pb2
from pier.exec.v1 import exec_pb2
from pier.network.v1 import network_pb2

T = TypeVar("T")

_BATCH = 100


def container(record: exec_pb2.Container, endpoints: Sequence[network_pb2.Endpoint] = ()) -> container_pb2.Container:
    shown = container_pb2.Container(record=record, endpoints=endpoints)
    shown.record.extensions.clear()
    try:
        shown.plan.CopyFrom(plan_of(record))
    except InvalidArgument:  # another manager's
        pass
    return shown


def exec_(record: exec_pb2.Exec) -> exec_pb2.Exec:
    shown = exec_pb2.Exec()
    shown.CopyFrom(record)
    shown.extensions.clear()
    return shown


def network(record: network_pb2.Network) -> network_pb2.Network:
    shown = network_pb2.Network()
    shown.CopyFrom(record)
    shown.spec.extensions.clear()
    return shown


def stale() -> Timestamp | None:
    """Since when the answer being made may not be so any more; None where its owner has just given it."""
    known = stale_since.get()
    if not known:
        return None
    when = Timestamp()
    when.FromNanoseconds(int(known * 1e9))
    return when


def batches(everything: Sequence[T]) -> Iterator[Sequence[T]]:
    """A list in messages that are not too large; the first comes always."""
    yield everything[:_BATCH]
    for start in range(_BATCH, len(everything), _BATCH):
        yield everything[start : start + _BATCH]
