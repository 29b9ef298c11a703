"""Patterns of a client's, matched against an image's words in time that grows with their length alone.

The syntax is RE2's as far as names of labels and variables need it: literals, ``.``, classes, groups, ``|``, ``* + ?``,
``{m,n}``, ``^ $``, ``\\d \\s \\w`` and their opposites. Anything else is refused by name. A pattern becomes Thompson's
automaton (https://swtch.com/~rsc/regexp/regexp1.html): no pattern can make it slow, unlike the standard library's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

PATTERN_MAX: Final = 512
_REPEAT_MAX: Final = 100
_STATES_MAX: Final = 20_000
_NAMED: Final[dict[str, Callable[[str], bool]]] = {
    "d": lambda c: c in "0123456789", "s": lambda c: c in "\t\n\f\r ",
    "w": lambda c: c == "_" or (c.isascii() and c.isalnum()),
}
_ESCAPED: Final = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v"}
_META: Final = frozenset("|)*+?{")
Test = Callable[[str], bool]


class BadPattern(ValueError):
    """What is wrong with it, and where."""


class _State:
    """Takes a character that passes ``test``; without a test none, and ``at`` may ask for the text's "^" or "$"."""

    __slots__ = ("at", "following", "test")

    def __init__(self, test: Test | None = None, at: str = "") -> None:
        self.test = test
        self.at = at
        self.following: list[_State] = []


class Pattern:
    """``found_in(text)``: whether it matches anywhere. BadPattern where ``source`` is none."""

    def __init__(self, source: str) -> None:
        if len(source) > PATTERN_MAX:
            raise BadPattern(f"longer than {PATTERN_MAX} characters")
        self._source = source
        self._position = 0
        self._states = 0
        self._first, self._last = self._alternatives()
        if self._position < len(source):
            raise self._bad("a ) without its (")

    def found_in(self, text: str) -> bool:
        """Whether some part of ``text`` matches."""
        current: set[_State] = set()
        for index in range(len(text) + 1):
            current = self._closure([*current, self._first], index == 0, index == len(text))
            if self._last in current:
                return True
            if index < len(text):
                character = text[index]
                current = {
                    after for state in current if state.test is not None and state.test(character)
                    for after in state.following
                }
        return False

    def _closure(self, states: Iterable[_State], begins: bool, ends: bool) -> set[_State]:
        reached: set[_State] = set()
        waiting = list(states)
        while waiting:
            state = waiting.pop()
            if state in reached:
                continue
            reached.add(state)
            if state.test is None and (not state.at or (begins if state.at == "^" else ends)):
                waiting += state.following
        return reached

    # From text to automaton: each method gives the (first, last) state of what it has read.

    def _alternatives(self) -> tuple[_State, _State]:
        first, last = self._state(), self._state()
        while True:
            begin, end = self._sequence()
            first.following.append(begin)
            end.following.append(last)
            if not self._taken("|"):
                return first, last

    def _sequence(self) -> tuple[_State, _State]:
        first = last = self._state()
        while self._position < len(self._source) and self._source[self._position] not in "|)":
            begin, end = self._repeated()
            last.following.append(begin)
            last = end
        return first, last

    def _repeated(self) -> tuple[_State, _State]:
        start = self._position
        begin, end = self._item()
        after = self._position
        bounds = self._bounds()
        if bounds is None:
            return begin, end
        if self._bounds() is not None:
            raise self._bad("a repeat of a repeat")
        least, most = bounds
        resume, first = self._position, self._state()
        last = first
        pieces = [(begin, end)]
        for _ in range(max(least, most or least or 1) - 1):
            self._position = start
            pieces.append(self._item())
        assert self._position in (after, resume)
        self._position = resume
        final = self._state()
        for number, (begin, end) in enumerate(pieces):
            if number >= least:
                last.following.append(final)
            last.following.append(begin)
            last = end
        if most is None:
            if least:
                last.following.append(pieces[-1][0])
            else:
                last.following.append(first)
        last.following.append(final)
        return first, final

    def _bounds(self) -> tuple[int, int | None] | None:
        """(least, most or None for no end); a lazy repeat finds the same."""
        bounds: tuple[int, int | None]
        if self._taken("*"):
            bounds = (0, None)
        elif self._taken("+"):
            bounds = (1, None)
        elif self._taken("?"):
            bounds = (0, 1)
        elif self._taken("{"):
            text, closed, _ = self._source[self._position:].partition("}")
            least, comma, most = text.partition(",")
            if not closed or not least.isdigit() or not (most.isdigit() or not most):
                raise self._bad("a { that begins no {m,n}")
            bounds = (int(least), int(most) if most else None if comma else int(least))
            self._position += len(text) + 1
            if not bounds[0] <= (bounds[0] if bounds[1] is None else bounds[1]) <= _REPEAT_MAX or bounds[1] == 0:
                raise self._bad(f"a repeat beyond 1 to {_REPEAT_MAX}")
        else:
            return None
        self._taken("?")
        return bounds

    def _item(self) -> tuple[_State, _State]:
        character = self._next("nothing to repeat")
        if character in _META:
            raise self._bad(f"a {character} with nothing before it")
        if character == "(":
            if self._taken("?") and not self._taken(":"):
                raise self._bad("a group with flags or a name, which is not supported")
            inner = self._alternatives()
            if not self._taken(")"):
                raise self._bad("a ( without its )")
            return inner
        if character in "^$":
            return self._one(None, character)
        if character == ".":
            return self._one(lambda found: found != "\n")
        if character == "[":
            return self._one(self._character_class())
        if character == "\\":
            return self._one(self._escape())
        return self._one(lambda found: found == character)

    def _character_class(self) -> Test:
        negated = self._taken("^")
        tests: list[Test] = []
        while True:
            character = self._next("a [ without its ]")
            if character == "]" and tests:
                break
            if character == "\\":
                name = self._source[self._position:self._position + 1]
                if name.lower() in _NAMED:
                    tests.append(self._escape())
                    continue
                character = self._literal_escape()
            elif character == "[" and self._source[self._position:self._position + 1] == ":":
                raise self._bad("a named class, which is not supported")
            high = character
            if self._source[self._position:self._position + 1] == "-" and (
                    self._source[self._position + 1:self._position + 2] not in ("]", "")):
                self._position += 1
                high = self._next("a range without its end")
                if high == "\\":
                    high = self._literal_escape()
                if high < character:
                    raise self._bad(f"a range {character}-{high} the wrong way round")
            tests.append(lambda found, low=character, high=high: low <= found <= high)  # type: ignore[misc]
        return lambda found: any(test(found) for test in tests) != negated

    def _escape(self) -> Test:
        name = self._source[self._position:self._position + 1]
        if name.lower() in _NAMED:
            self._position += 1
            named = _NAMED[name.lower()]
            return named if name.islower() else lambda found: not named(found)
        literal = self._literal_escape()
        return lambda found: found == literal

    def _literal_escape(self) -> str:
        character = self._next("a \\ at the end")
        if character in _ESCAPED:
            return _ESCAPED[character]
        if character.isalnum():
            raise self._bad(f"\\{character}, which is not supported")
        return character

    def _one(self, test: Test | None, at: str = "") -> tuple[_State, _State]:
        begin, end = self._state(test, at), self._state()
        begin.following.append(end)
        return begin, end

    def _state(self, test: Test | None = None, at: str = "") -> _State:
        self._states += 1
        if self._states > _STATES_MAX:
            raise self._bad("too many repeats within repeats")
        return _State(test, at)

    def _next(self, problem: str) -> str:
        if self._position >= len(self._source):
            raise self._bad(problem)
        self._position += 1
        return self._source[self._position - 1]

    def _taken(self, character: str) -> bool:
        if self._source[self._position:self._position + 1] == character:
            self._position += 1
            return True
        return False

    def _bad(self, problem: str) -> BadPattern:
        return BadPattern(f"{problem}, at character {self._position}")
