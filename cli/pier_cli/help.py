"""The text of ``--help``, made from the same tables that parsing uses: it lists what works and nothing else."""

from __future__ import annotations

import posix

from pier_cli.table import COMMANDS, COMMON, GROUPS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pier_cli.command import Command
    from pier_cli.flags import Flag


def top(flags: Sequence[Flag]) -> str:
    """``pier --help``."""
    singles = {words: summary for words, (_, summary) in COMMANDS.items() if " " not in words}
    parts = ["Usage:  pier [OPTIONS] COMMAND\n\nA container engine that can be taken apart\n"]
    parts.append("\nCommon Commands:\n" + _list({words: singles[words] for words in COMMON}))
    parts.append("\nManagement Commands:\n" + _list(GROUPS))
    parts.append("\nCommands:\n" + _list({words: text for words, text in singles.items() if words not in COMMON}))
    parts.append("\nGlobal Options:\n" + _flags(flags))
    parts.append("\nRun 'pier COMMAND --help' for more information on a command.\n")
    return "".join(parts)


def group(name: str) -> str:
    """``pier container``."""
    inside = {
        words[len(name) + 1:]: summary
        for words, (_, summary) in COMMANDS.items()
        if words.startswith(name + " ") and summary
    }
    return (
        f"Usage:  pier {name} COMMAND\n\n{GROUPS[name]}\n\nCommands:\n{_list(inside)}\n"
        f"Run 'pier {name} COMMAND --help' for more information on a command.\n"
    )


def usage(words: str, item: Command) -> str:
    """The usage line; where a command has several forms, one for each."""
    lines = item.usage.split("\n") if item.usage else [""]
    first, *others = [f"pier {words} {line}".rstrip() for line in lines]
    return "\n".join([f"Usage:  {first}", *(f"\t{other}" for other in others)])


def command(words: str, item: Command) -> str:
    """``pier run --help``."""
    target, _ = COMMANDS[words]
    same = [other for other, (where, _) in COMMANDS.items() if where == target]
    summary = next(text for other in same if (text := COMMANDS[other][1]))
    text = f"{usage(words, item)}\n\n{summary}\n"
    if item.text:
        text += f"\n{item.text}\n"
    if len(same) > 1:
        text += "\nAliases:\n  " + ", ".join(f"pier {other}" for other in same) + "\n"
    if item.flags:
        text += "\nOptions:\n" + _flags(item.flags)
    return text


def _list(items: dict[str, str]) -> str:
    width = max(map(len, items), default=0)
    width = max(width, 11)
    return "".join(f"  {name:{width}} {summary}\n" for name, summary in items.items())


def _flags(flags: Sequence[Flag]) -> str:
    rows = []
    for flag in sorted(flags, key=lambda item: item.long):
        left = f"  -{flag.short}, --{flag.long}" if flag.short else f"      --{flag.long}"
        if flag.kind != "bool":
            left += f" {flag.kind}"
        text = flag.help
        if flag.default not in (None, False, "", 0):
            shown = "true" if flag.default is True else flag.default
            text += f' (default "{shown}")' if isinstance(shown, str) and shown != "true" else f" (default {shown})"
        rows.append((left, text))
    start = max(len(left) for left, _ in rows) + 3
    width = max(_columns() - start, 24)
    out = []
    for left, text in rows:
        lines = [line for part in text.split("\n") for line in _wrap(part, width)]
        out.append(left.ljust(start) + ("\n" + " " * start).join(lines) + "\n")
    return "".join(out)


def _wrap(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append(word)
        else:
            lines[-1] += f" {word}" if lines[-1] else word
    return lines


def _columns() -> int:
    try:
        return max(posix.get_terminal_size(1).columns, 40)
    except OSError:
        return 80
