"""Who is called what, as the resolver keeps it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from netd.resolver import wire
from netd.resolver.names import Names
from netd.resolver.protocol import Join, Served


def sandbox(number: int, *joins: Join) -> Served:
    return Served(f"s{number}", (), True, joins)


def on(network: str, address: str, *names: str, links: tuple[tuple[str, str], ...] = ()) -> Join:
    return Join(network, network.upper(), names, (address,), links)


def look(names: Names, asker: Served, name: str, version: int = 4) -> set[str] | None:
    found = names.addresses(asker, wire.name(name) or b"", version)
    return None if found is None else {".".join(map(str, packed)) for packed in found}


def test_a_name_is_answered_on_its_network_and_nowhere_else() -> None:
    names = Names()
    one = sandbox(1, on("blue", "10.0.0.1", "web", "w"))
    two = sandbox(2, on("blue", "10.0.0.2", "db", "w"), on("red", "10.1.0.2", "db"))
    three = sandbox(3, on("red", "10.1.0.3", "cache"))
    for each in (one, two, three):
        names.put(each)
    assert look(names, one, "db") == {"10.0.0.2"}
    assert look(names, one, "db.BLUE") == look(names, one, "DB.blue.") == {"10.0.0.2"}
    assert look(names, one, "w") == {"10.0.0.1", "10.0.0.2"}
    assert look(names, one, "cache") is None
    assert look(names, one, "db.red") is None
    assert look(names, two, "cache") == {"10.1.0.3"}
    assert look(names, one, "db", version=6) == set(), "known, without such an address"
    assert names.pointer(one, wire.reverse_name("10.0.0.2")) == wire.name("db.blue")
    assert names.pointer(one, wire.reverse_name("10.1.0.3")) is None


def test_a_link_is_private_and_follows_its_target() -> None:
    names = Names()
    names.put(sandbox(1, on("blue", "10.0.0.1", "db")))
    linked = sandbox(2, on("blue", "10.0.0.2", "web", links=(("store", "db"),)))
    names.put(linked)
    names.put(sandbox(3, on("blue", "10.0.0.3", "other")))
    assert look(names, linked, "store") == look(names, linked, "store.blue") == {"10.0.0.1"}
    assert look(names, sandbox(3, on("blue", "10.0.0.3", "other")), "store") is None
    names.put(sandbox(1, on("blue", "10.0.0.9", "db")))
    assert look(names, linked, "store") == {"10.0.0.9"}
    names.drop("s1")
    assert look(names, linked, "store") is None


def test_an_address_that_has_passed_to_another_keeps_the_others_name() -> None:
    names = Names()
    first = sandbox(1, on("blue", "10.0.0.1", "old"))
    second = sandbox(2, on("blue", "10.0.0.1", "new"))
    names.put(first)
    names.put(second)
    names.drop("s1")
    assert names.pointer(second, wire.reverse_name("10.0.0.1")) == wire.name("new.blue")


JOINS = st.builds(
    on, st.sampled_from(["blue", "red"]), st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3"]),
    st.sampled_from(["a", "b", "c", "x" * 70, "d.e"]), st.sampled_from(["a", "b", "f"]),
)
STEPS = st.lists(st.tuples(st.integers(1, 4), st.one_of(st.none(), st.lists(JOINS, max_size=2))), max_size=20)


@given(STEPS)
def test_what_was_put_and_dropped_leaves_what_a_fresh_index_has(steps: list[tuple[int, list[Join] | None]]) -> None:
    names, left = Names(), dict[int, Served]()
    for number, joins in steps:
        if joins is None:
            names.drop(f"s{number}")
            left.pop(number, None)
        else:
            # One endpoint on a network, as netd has it.
            left[number] = sandbox(number, *{join.network: join for join in joins}.values())
            names.put(left[number])
    fresh = Names()
    for served in left.values():
        fresh.put(served)
    asker = sandbox(9, on("blue", "10.9.0.1"), on("red", "10.9.0.2"))
    for name in ("a", "b", "c", "d.e", "f", "a.blue", "b.red", "x" * 70):
        assert look(names, asker, name) == look(fresh, asker, name)
    assert len(names) == len(left)
    for number in list(left):
        names.drop(f"s{number}")
    assert (names._forward, names._reverse) == ({}, {}), "nothing is left of nobody"
