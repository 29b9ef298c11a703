"""Every service's database goes forward from each earlier schema, and is refused backward by its name."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

import buildd.records
import execd.records
import imaged.catalog
import netd.records
from chassis.errors import Conflict
from chassis.store import Store

SCHEMAS = {
    "buildd": buildd.records.MIGRATIONS, "execd": execd.records.MIGRATIONS, "imaged": imaged.catalog.MIGRATIONS,
    "netd": netd.records.MIGRATIONS,
}


async def opened(path: Path, migrations: Sequence[str]) -> str:
    """Its epoch, once it has been opened with these migrations and closed again."""
    store = await Store.open(path, migrations)
    await store.close()
    return store.epoch


def schema(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    found = [sql for (sql,) in connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")]
    connection.close()
    return found


@pytest.mark.parametrize(("service", "version"), [
    (service, version) for service, migrations in SCHEMAS.items() for version in range(len(migrations))
])
async def test_a_database_of_an_earlier_version_becomes_what_a_new_one_is(
    tmp_path: Path, service: str, version: int
) -> None:
    migrations = SCHEMAS[service]
    epoch = await opened(tmp_path / "old.db", migrations[:version])
    assert await opened(tmp_path / "old.db", migrations) == epoch
    await opened(tmp_path / "new.db", migrations)
    assert schema(tmp_path / "old.db") == schema(tmp_path / "new.db")


@pytest.mark.parametrize("service", SCHEMAS)
async def test_a_database_of_a_newer_version_is_refused_by_name_and_stays_as_it_is(
    tmp_path: Path, service: str
) -> None:
    migrations, path = SCHEMAS[service], tmp_path / f"{service}.db"
    await opened(path, [*migrations, "CREATE TABLE of_tomorrow (x INTEGER) STRICT;"])
    before = schema(path)
    newer = rf"{service}\.db: written by a newer version \(schema {len(migrations) + 1}, this one knows"
    with pytest.raises(Conflict, match=newer) as caught:
        await opened(path, migrations)
    assert caught.value.reason == "NEWER_SCHEMA"
    assert schema(path) == before


async def test_a_migration_that_fails_leaves_the_database_at_the_version_before(tmp_path: Path) -> None:
    path, good = tmp_path / "s.db", "CREATE TABLE good (x INTEGER) STRICT;"
    with pytest.raises(sqlite3.OperationalError):
        await opened(path, [good, "CREATE TABLE half (x INTEGER) STRICT; CREATE TABLE nonsense (;"])
    assert not [sql for sql in schema(path) if "half" in sql]
    await opened(path, [good, "CREATE TABLE whole (x INTEGER) STRICT;"])
    assert [sql for sql in schema(path) if "whole" in sql]
