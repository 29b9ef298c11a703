"""Commands that do the same to several things: each that worked is printed, each that failed is told, all are tried."""

from __future__ import annotations

from pier_cli import out
from pier_cli.failure import Failure, Unreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def each(names: Iterable[str], act: Callable[[str], object], show: bool = True) -> int:
    """The exit code: 0 where ``act`` worked for every name."""
    errors = []
    for name in names:
        try:
            act(name)
        except Unreachable:
            raise
        except Failure as failure:
            errors.append(failure.message)
            continue
        if show:
            out.line(name)
    if errors:
        raise Failure("\n".join(errors))
    return 0


def container_path(name: str) -> str:
    """The path of a container; Failure for a name that cannot be one."""
    from pier_cli.engine import quote

    trimmed = name.strip()
    if not trimmed:
        raise Failure("invalid container name or ID: value is empty")
    # A name may be given as the engine writes it, with a slash before it; one within is no other path.
    return f"/containers/{quote(trimmed.removeprefix('/')).replace('/', '%2F')}"
