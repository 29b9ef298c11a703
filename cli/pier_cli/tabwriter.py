"""Columns as Go's text/tabwriter lays them out: a cell ends with a tab, a column is a run of lines that have it."""

from __future__ import annotations

_MINIMUM = 10
_PADDING = 3


def align(text: str, minimum: int = _MINIMUM, padding: int = _PADDING) -> str:
    """``text`` with its tabs replaced by the spaces that align its columns. Width counts characters."""
    lines = [line.split("\t") for line in text.split("\n")]
    widths: list[list[int]] = [[] for _ in lines]
    _measure(lines, widths, 0, len(lines), 0, minimum, padding)
    out = []
    for cells, columns in zip(lines, widths, strict=True):
        padded = [cell.ljust(width) for cell, width in zip(cells, columns, strict=False)]
        out.append("".join(padded) + cells[-1])
    return "\n".join(out)


def _measure(
    lines: list[list[str]], widths: list[list[int]], start: int, end: int, column: int, minimum: int, padding: int
) -> None:
    row = start
    while row < end:
        if len(lines[row]) - 1 <= column:
            row += 1
            continue
        last = row
        width = minimum
        while last < end and len(lines[last]) - 1 > column:
            width = max(width, len(lines[last][column]) + padding)
            last += 1
        for index in range(row, last):
            widths[index].append(width)
        _measure(lines, widths, row, last, column + 1, minimum, padding)
        row = last
