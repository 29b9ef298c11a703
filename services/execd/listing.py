"""Lists of containers: whole, page after page, or what has changed since the caller's last one."""

from __future__ import annotations

import base64
from typing import Final

from chassis import ids
from chassis.errors import InvalidArgument
from execd.records import Records
from pier.exec.v1 import exec_pb2

_PAGE: Final = 500


def answer(records: Records, request: exec_pb2.ListContainersRequest) -> exec_pb2.ListContainersResponse:
    """Newest first. InvalidArgument (BAD_ID, BAD_FIELD, BAD_TOKEN)."""
    ids.owned_by(request)
    position = records.position
    if request.changed_since and (changes := _changes(records, request)) is not None:
        changed, removed = changes
        return exec_pb2.ListContainersResponse(
            containers=changed, position=position, changes_only=True, removed=removed)
    found, token = _page(records, request)
    return exec_pb2.ListContainersResponse(containers=found, next_page_token=token, position=position)


def _changes(
    records: Records, request: exec_pb2.ListContainersRequest
) -> tuple[list[exec_pb2.Container], list[str]] | None:
    """(containers, ids of those that are gone); None where that is not known, or more than a page."""
    if request.states or request.labels or request.page_token:
        raise InvalidArgument("changed_since goes with no states, labels or pages", reason="BAD_FIELD",
                              field="changed_since")
    changes = records.changes(request.changed_since)
    if changes is None or len(changes[0]) > _PAGE:
        return None
    entries, removed = changes
    return sorted((each.container for each in entries if _matches(each.container, request)), key=_order), removed


def _page(records: Records, request: exec_pb2.ListContainersRequest) -> tuple[list[exec_pb2.Container], str]:
    """One page, and the token of the next."""
    found = sorted((entry.container for entry in records if _matches(entry.container, request)), key=_order)
    if request.page_token:
        after = _token(request.page_token)
        found = [container for container in found if _order(container) > after]
    size = request.page_size or _PAGE
    page = found[:size]
    if len(found) <= size:
        return page, ""
    nanoseconds, last = _order(page[-1])
    return page, base64.urlsafe_b64encode(f"{nanoseconds}/{last}".encode()).decode()


def _matches(container: exec_pb2.Container, request: exec_pb2.ListContainersRequest) -> bool:
    return (
        request.manager in ("", container.owner.manager)
        and request.namespace in ("", container.owner.namespace)
        and (not request.states or container.status.state in request.states)
        and all(
            key in container.spec.labels and value in ("", container.spec.labels[key])
            for key, value in request.labels.items()
        )
    )


def _order(container: exec_pb2.Container) -> tuple[int, str]:
    return -container.created_at.ToNanoseconds(), container.id


def _token(text: str) -> tuple[int, str]:
    try:
        nanoseconds, _, last = base64.urlsafe_b64decode(text).decode().partition("/")
        return int(nanoseconds), last
    except ValueError:
        problem = InvalidArgument("page_token is none of this listing", reason="BAD_TOKEN", field="page_token")
        raise problem from None
