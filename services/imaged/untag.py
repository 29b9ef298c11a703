"""Removing images by Docker's rules: what is untagged, what is deleted, and what stands in the way.

imaged knows no containers; the caller says which images theirs use.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field

from chassis.errors import Conflict
from chassis.ids import namespace as check_namespace
from imaged import catalog, gc, images, reference
from imaged.catalog import ImageRow, Ref
from imaged.state import State
from pier.image.v1 import image_pb2 as pb


@dataclass
class _Outcome:
    """What a removal did to the catalogue; ``deleted`` is the image, where it went."""

    untagged: list[str] = field(default_factory=list)
    deleted: ImageRow | None = None


async def remove(state: State, request: pb.RemoveImageRequest) -> pb.RemoveImageResponse:
    """Untag or delete; what happened, in order. Conflict in Docker's words."""
    namespace = check_namespace(request.namespace)

    def write(connection: sqlite3.Connection) -> _Outcome:
        row, named = images.resolve(connection, namespace, request.image)
        uses = [use for use in request.uses if use.image_id == row.id]
        removal = _Removal(state, connection, row, uses, request.image, force=request.force)
        return removal.by_reference(named) if named is not None else removal.by_id()

    outcome = await state.store.write("rmi.record", write)
    removed, freed = [pb.Removed(untagged=name) for name in outcome.untagged], 0
    if outcome.deleted is not None:
        removed.append(pb.Removed(deleted=outcome.deleted.id))
        sizes = await state.store.read(lambda connection: _sizes(connection, outcome))
        swept = await gc.sweep_image(state, outcome.deleted)
        removed += [pb.Removed(deleted=chain_id) for chain_id in swept]
        freed = sum(sizes.get(chain_id, 0) for chain_id in swept)
    return pb.RemoveImageResponse(removed=removed, freed_bytes=freed)


def _sizes(connection: sqlite3.Connection, outcome: _Outcome) -> dict[str, int]:
    """Bytes of the deleted image's layers."""
    assert outcome.deleted is not None
    found = (catalog.layer(connection, layer.chain_id) for layer in outcome.deleted.body.layers)
    return {row.chain_id: row.size for row in found if row is not None}


@dataclass
class _Removal:
    """One removal inside its transaction."""

    state: State
    connection: sqlite3.Connection
    row: ImageRow
    uses: Sequence[pb.ImageUse]
    asked: str
    force: bool
    outcome: _Outcome = field(default_factory=_Outcome)

    def by_reference(self, named: Ref) -> _Outcome:
        """A reference goes; the image goes with its last one."""
        refs = self._refs()
        if not self.force and _is_single(refs) and self.uses:
            raise Conflict(
                f"conflict: unable to remove repository reference {_quoted(self.asked)} (must force) - container "
                f"{self.uses[0].container_id[:12]} is using its referenced image {_short(self.row.id)}",
                reason="IMAGE_IN_USE", field="image")
        self._untag(named)
        repository = reference.parse_canonical(named.reference).repository
        left = [ref for ref in self._refs() if reference.parse_canonical(ref.reference).repository == repository]
        if not named.is_digest and all(ref.is_digest for ref in left):
            # Digests of a repository mean nothing to people once its last tag is gone.
            for ref in left:
                self._untag(ref)
        if not self._refs() and not self._obstacle():
            self._delete()
        return self.outcome

    def by_id(self) -> _Outcome:
        """All references of one repository go, and the image; of several repositories only with force."""
        refs = self._refs()
        obstacle = self._obstacle()
        if obstacle:
            raise Conflict(obstacle, reason="IMAGE_IN_USE", field="image")
        if not self.force and not _is_single(refs):
            raise Conflict(
                f"conflict: unable to delete {_short(self.row.id)} (must be forced) - image is referenced in multiple "
                "repositories", reason="IMAGE_IN_REPOSITORIES", field="image")
        for ref in refs:
            self._untag(ref)
        self._delete()
        return self.outcome

    def _refs(self) -> list[Ref]:
        return catalog.refs_of(self.connection, self.row.namespace, self.row.id)

    def _obstacle(self) -> str:
        """Which container keeps the image from being deleted, "" for none."""
        short = _short(self.row.id)
        for use in self.uses:
            if use.running:
                return (f"conflict: unable to delete {short} (cannot be forced) - image is being used by running "
                        f"container {use.container_id[:12]}")
        if self.uses and not self.force:
            return (f"conflict: unable to delete {short} (must be forced) - image is being used by stopped container "
                    f"{self.uses[0].container_id[:12]}")
        return ""

    def _untag(self, ref: Ref) -> None:
        familiar = reference.parse_canonical(ref.reference).familiar
        catalog.drop_ref(self.connection, self.row.namespace, ref.reference)
        images.event(self.state, self.connection, self.row.namespace, "untag", self.row.id, familiar)
        self.outcome.untagged.append(familiar)

    def _delete(self) -> None:
        catalog.drop_image(self.connection, self.row.namespace, self.row.id)
        images.event(self.state, self.connection, self.row.namespace, "delete", self.row.id, self.row.id)
        self.outcome.deleted = self.row


def _is_single(refs: Sequence[Ref]) -> bool:
    """At most one tag, and all within one repository."""
    repositories = {reference.parse_canonical(ref.reference).repository for ref in refs}
    return len(repositories) <= 1 and sum(not ref.is_digest for ref in refs) <= 1


def _short(image_id: str) -> str:
    return image_id.removeprefix("sha256:")[:12]


def _quoted(text: str) -> str:
    return f'"{text}"'
