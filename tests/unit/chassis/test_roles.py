"""Which certificate may do what."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis import roles
from chassis.caller import Caller, Certificate, of_certificate
from chassis.errors import InvalidArgument, PermissionDenied
from chassis.roles import Role, Roles

RULES = """
default = "read-only"
[[rule]]
role = "none"
cn = "gone"
[[rule]]
role = "operator"
ou = "ops"
san = "DNS:a.example"
[[rule]]
role = "operator"
cn = "admin"
"""


def shown(name: str = "x", units: tuple[str, ...] = (), names: tuple[str, ...] = ()) -> Caller:
    return Caller(address="192.0.2.1:1", certificate=Certificate(name, units, names))


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "roles.toml"
    path.write_text(RULES)
    return path


@pytest.mark.parametrize("who, role", [
    (shown("admin"), Role.OPERATOR), (shown("gone"), Role.NONE), (shown("other"), Role.READ_ONLY),
    (shown("x", ("ops",), ("DNS:a.example",)), Role.OPERATOR), (shown("x", ("ops",)), Role.READ_ONLY),
    (shown("x", (), ("DNS:a.example",)), Role.READ_ONLY), (shown("gone", ("ops",), ("DNS:a.example",)), Role.NONE),
    (shown("Admin"), Role.READ_ONLY), (Caller(uid=0, pid=1), Role.OPERATOR),
    (Caller(address="127.0.0.1:1"), Role.OPERATOR),
])
def test_the_first_rule_that_is_met_in_all_counts(rules: Path, who: Caller, role: Role) -> None:
    assert Roles(str(rules)).of(who) is role


def test_without_a_file_every_certificate_is_an_operators() -> None:
    assert Roles("").of(shown()) is Role.OPERATOR


def test_a_reader_may_read_and_who_has_no_role_may_nothing(rules: Path) -> None:
    known = Roles(str(rules))
    known.check(shown("other"), "x/Get", changes=False)
    with pytest.raises(PermissionDenied, match=r"CN=other.*x/Set") as caught:
        known.check(shown("other"), "x/Set", changes=True)
    assert caught.value.reason == "READ_ONLY"
    with pytest.raises(PermissionDenied) as caught:
        known.check(shown("gone"), "x/Get", changes=False)
    assert caught.value.reason == "NO_ROLE"


@pytest.mark.parametrize("text, words", [
    ("default = 'all'", "Invalid enum value"), ("[[rule]]\nrole = 'operator'", "rule 1 names no certificate"),
    ("[[rule]]\nrole = 'operator'\ncommon_name = 'x'", "unknown field"), ("roles = []", "unknown field"),
    ("[[rule]]\ncn = 'x'", "missing required field"), ("default = ", "Invalid value"),
    ("[[rule]]\nrole = 'operator'\ncn = 5", "Expected `str"),
])
def test_a_file_that_is_not_understood_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "roles.toml").write_text(text)
    with pytest.raises(InvalidArgument, match=words):
        Roles(str(tmp_path / "roles.toml"))
    with pytest.raises(InvalidArgument, match="No such file"):
        Roles(str(tmp_path / "nothing"))


def test_a_file_that_breaks_later_leaves_the_roles_as_they_were(
    rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roles, "_LOOK", 0.0)
    known = Roles(str(rules))
    rules.write_text("nonsense")
    assert known.of(shown("admin")) is Role.OPERATOR
    os.unlink(rules)
    assert known.of(shown("gone")) is Role.NONE
    rules.write_text('default = "none"')
    assert known.of(shown("admin")) is Role.NONE


@given(st.text(), st.lists(st.text()), st.lists(st.text()))
def test_no_certificate_without_the_rules_words_is_an_operators(
    name: str, units: list[str], names: list[str]
) -> None:
    rule = roles._Rule(Role.OPERATOR, cn="admin", ou="ops", san="DNS:a")
    met = name == "admin" and "ops" in units and "DNS:a" in names
    assert rule.matches(Certificate(name, tuple(units), tuple(names))) == met


def test_a_certificate_is_read_as_ssl_gives_it() -> None:
    found = of_certificate({
        "subject": ((("organizationalUnitName", "a"),), (("organizationalUnitName", "b"),), (("commonName", "c"),)),
        "subjectAltName": (("DNS", "n"), ("IP Address", "192.0.2.1"), ("URI", "spiffe://x"), ("Registered ID", "1.2")),
        "serialNumber": "0A",
    })
    assert found == Certificate("c", ("a", "b"), ("DNS:n", "IP:192.0.2.1", "URI:spiffe://x"), "0A")
