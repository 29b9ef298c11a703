"""Cache keys, and what a miss says about them."""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from buildd.records import Inputs, Record

_FORM: Final = 1
"""Counts up when a key's meaning changes: what was made under an earlier one is not found any more."""


def key_of(inputs: Inputs) -> str:
    """64 hexadecimal digits. Every input counts, its name and its length too: no two lists of inputs look the same."""
    parts = [
        _FORM, inputs.ground, inputs.instruction, sorted(inputs.arguments.items()), sorted(inputs.files.items()),
        sorted(inputs.settings.items()),
    ]
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


def why(inputs: Inputs, last: Record | None) -> str:
    """What differs from the step that stood at this place last; "first build" where none did."""
    if last is None:
        return "first build"
    before = last.inputs
    if inputs.instruction != before.instruction:
        return "instruction changed"
    if inputs.ground != before.ground:
        return "what it stands on changed"
    for what, now, then in (
        ("argument", inputs.arguments, before.arguments), ("files of", inputs.files, before.files),
        ("", inputs.settings, before.settings),
    ):
        for name in sorted(now.keys() | then.keys()):
            if now.get(name) != then.get(name):
                return f"{what} {name} changed".strip()
    return "its record was removed"
