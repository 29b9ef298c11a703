"""What ``pier build`` shows of a build: lines for a log, or a few that are drawn anew on a terminal."""

from __future__ import annotations

import binascii
import posix
import time

from pier_cli import out
from pier_cli.codec import dumps
from pier_cli.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_REDRAW = 0.1
_TAIL = 6
"""Lines of its output that a step which is carried out shows on a terminal."""


class Step:
    """One step of the plan; ``rest`` is output that no line has ended yet, ``tail`` its last lines."""

    def __init__(self, place: int, told: dict[str, Any]) -> None:
        self.place = place
        stage = f"{told['stage']} " if not str(told["stage"]).isdigit() else ""
        self.title = out.safe(f"[{stage}{told['number']}/{told['count']}] {told['instruction']}")
        self.began = 0.0
        self.seconds = 0.0
        self.state = ""
        self.miss = ""
        self.rest = b""
        self.tail: list[str] = []


class Result:
    """What came out of it."""

    def __init__(self) -> None:
        self.image = ""
        self.steps: dict[int, Step] = {}
        self.warnings = 0


class Shown:
    """Follows one build's events on the standard error; ``output`` gets what --output asked for."""

    def __init__(self, output: int = -1) -> None:
        self.result = Result()
        self._output = output

    def follow(self, events: Iterable[dict[str, Any]]) -> Result:
        """Failure with the engine's message where the build fails."""
        for event in events:
            if "error" in event:
                self.failed()
                detail = event.get("errorDetail") or {}
                raise Failure(f"ERROR: {event['error']}", int(detail.get("code") or 1))
            self._take(event)
            self.show(event)
        self.finished()
        return self.result

    def _take(self, event: dict[str, Any]) -> None:
        steps = self.result.steps
        if "plan" in event:
            known, steps = steps, {}
            for place, told in enumerate(event["plan"], start=1):
                step = steps[told["id"]] = known.get(told["id"]) or Step(place, told)
                step.place = place
            self.result.steps = steps
        elif "begin" in event:
            step = steps[event["begin"]]
            step.began, step.state = step.began or time.monotonic(), "runs"
        elif "end" in event:
            step = steps[event["end"]]
            step.seconds, step.miss = event["nanoseconds"] / 1e9, str(event["miss"])
            step.state = "cached" if event["cached"] else "done"
        elif "output" in event:
            out.write(self._output, binascii.a2b_base64(event["output"]))
        elif "warning" in event:
            self.result.warnings += 1
        elif "result" in event:
            self.result.image = str(event["result"])

    def lines_of(self, event: dict[str, Any]) -> list[str]:
        """The lines that a log event completes."""
        step = self.result.steps[event["log"]]
        *lines, step.rest = (step.rest + binascii.a2b_base64(event["data"])).split(b"\n")
        return [out.safe(line.rstrip(b"\r").decode("utf-8", "replace")) for line in lines]

    def show(self, event: dict[str, Any]) -> None:
        """Nothing."""

    def finished(self) -> None:
        """It ended well."""

    def failed(self) -> None:
        """It did not."""


class Json(Shown):
    """Each event as it came, on the standard output."""

    def show(self, event: dict[str, Any]) -> None:
        if "output" not in event:
            out.line(dumps(event))
            out.flush()


class Plain(Shown):
    """A line for each thing that happens, under the number of its step."""

    def show(self, event: dict[str, Any]) -> None:
        steps = self.result.steps
        if "begin" in event and not event["container"]:
            step = steps[event["begin"]]
            out.error(f"#{step.place} {step.title}")
        elif "log" in event:
            step = steps[event["log"]]
            for line in self.lines_of(event):
                out.error(f"#{step.place} {time.monotonic() - step.began:.3f} {line}")
        elif "end" in event:
            step = steps[event["end"]]
            if step.rest:
                out.error(f"#{step.place} {out.safe(step.rest.decode('utf-8', 'replace'))}")
            out.error(f"#{step.place} {'CACHED' if step.state == 'cached' else f'DONE {step.seconds:.1f}s'}\n")
        elif "warning" in event:
            out.error(_warning(event) + (f" (line {event['firstLine']})" if event["warning"] else ""))

    def finished(self) -> None:
        if self.result.image:
            out.error(f"image {self.result.image}")


class Terminal(Shown):
    """A line for each step that has begun, the last lines of what those say that are carried out; drawn anew."""

    def __init__(self, output: int = -1) -> None:
        super().__init__(output)
        self._drawn = 0
        self._last = 0.0
        self._began = time.monotonic()
        self._warnings: list[str] = []

    def show(self, event: dict[str, Any]) -> None:
        if "log" in event:
            step = self.result.steps[event["log"]]
            step.tail = (step.tail + self.lines_of(event))[-_TAIL:]
        elif "warning" in event:
            self._warnings.append(_warning(event))
        if time.monotonic() - self._last >= _REDRAW or "end" in event:
            self._draw()

    def finished(self) -> None:
        self._draw()
        for warning in self._warnings:
            out.error(warning)

    def failed(self) -> None:
        self._draw(everything=True)

    def _draw(self, *, everything: bool = False) -> None:
        self._last = now = time.monotonic()
        columns, rows = self._size()
        steps = [step for step in self.result.steps.values() if step.state]
        done = sum(step.state != "runs" for step in steps)
        lines = [f"[+] Building {now - self._began:.1f}s ({done}/{len(self.result.steps)})"]
        for step in steps:
            mark = {"runs": " =>", "cached": " => CACHED"}.get(step.state, " =>")
            seconds = now - step.began if step.state == "runs" else step.seconds
            right = "" if step.state == "cached" else f"{seconds:6.1f}s"
            width = max(columns - len(right) - 1, 1)
            lines.append(f"{f'{mark} {step.title}'[:width]:<{width}}{right}")
            if step.state == "runs":
                lines += [f" => => # {line}"[:columns - 1] for line in step.tail]
        if not everything:
            lines = [lines[0], *lines[1:][-max(rows - 2, 1):]]
        text = "".join(f"\x1b[2K{line}\n" for line in lines)
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        out.write(2, f"{up}\r{text}\x1b[J".encode("utf-8", "surrogateescape"))
        self._drawn = min(len(lines), rows - 1)

    @staticmethod
    def _size() -> tuple[int, int]:
        try:
            size = posix.get_terminal_size(2)
            return size.columns or 80, max(size.lines, 4)
        except OSError:
            return 80, 24


def explained(result: Result) -> str:
    """For each step whether it was carried out, and why."""
    lines = []
    for step in result.steps.values():
        why = "cached" if step.state == "cached" else step.miss or "done"
        lines.append(f"{step.title}\n    {why}\n")
    return "".join(lines)


def _warning(event: dict[str, Any]) -> str:
    rule = f"{event['warning']}: " if event["warning"] else ""
    return f"WARN: {rule}{out.safe(str(event['message']))}"
