"""Names for containers that were given none: an adjective and a surname of the trade."""

from __future__ import annotations

import random
from typing import Final

_ADJECTIVES: Final = (
    "able", "agile", "bold", "brave", "bright", "brisk", "calm", "candid", "clear", "clever", "cosy", "deft",
    "eager", "earnest", "easy", "fair", "fond", "frank", "gentle", "glad", "happy", "hardy", "honest", "jolly", "keen",
    "kind", "lively", "loyal", "lucid", "merry", "mild", "modest", "neat", "nimble", "noble", "patient", "placid",
    "plucky", "proud", "quick", "quiet", "ready", "serene", "sharp", "shy", "silent", "sincere", "sober",
    "steady", "stoic", "sturdy", "subtle", "sunny", "swift", "tidy", "upbeat", "vivid", "warm", "wise", "witty",
)
_SURNAMES: Final = (
    "babbage", "backus", "bartik", "borg", "cerf", "church", "codd", "conway", "cray", "dahl", "dijkstra", "engelbart",
    "erdos", "euler", "floyd", "gauss", "godel", "goldberg", "hamilton", "hamming", "hoare", "holberton", "hopper",
    "iverson", "kay", "keller", "kernighan", "kleene", "knuth", "lamarr", "lamport", "leibniz", "liskov", "lovelace",
    "mccarthy", "milner", "minsky", "naur", "noether", "nygaard", "pascal", "perlis", "perlman", "postel", "ramanujan",
    "ritchie", "shannon", "stallman", "stroustrup", "sutherland", "tanenbaum", "tarjan", "thompson", "torvalds",
    "turing", "ullman", "wiles", "wilkes", "wing", "wirth", "wozniak", "zuse",
)


def generate(attempt: int = 0) -> str:
    """A name; from the second attempt on with a digit behind it."""
    choose = random.SystemRandom()
    name = f"{choose.choice(_ADJECTIVES)}_{choose.choice(_SURNAMES)}"
    return name if attempt < 2 else f"{name}{choose.randrange(10)}"
