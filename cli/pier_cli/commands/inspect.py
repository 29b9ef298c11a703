"""``pier inspect`` and the inspect of each kind: what the engine knows of a thing, as it said it."""

from __future__ import annotations

from pier_cli.codec import indented, loads
from pier_cli.command import Command
from pier_cli.failure import EngineError, Failure, Unreachable
from pier_cli.flags import Flag
from pier_cli.formats import ONE_FORMAT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pier_cli.context import Context
    from pier_cli.flags import Options

_PATHS = {
    "container": "/containers/{}/json", "image": "/images/{}/json", "network": "/networks/{}", "volume": "/volumes/{}",
}
_WORDS = {"container": "container name or ID", "image": "image ID", "network": "network ID", "volume": "volume ID"}


def _fetch(context: Context, kind: str, name: str, query: Sequence[tuple[str, str]]) -> str:
    """The engine's answer, as its text."""
    from pier_cli.engine import quote

    if not name.strip():
        raise Failure(f"invalid {_WORDS[kind]}: value is empty")
    return context.engine.call_raw("GET", _PATHS[kind].format(quote(name)), query)


def _show(layout: str, found: list[str]) -> list[str]:
    """Print what was found; the errors of a template that does not fit some of it."""
    from pier_cli.formats import compiled, show

    if not layout:
        parts = ",\n    ".join(indented(raw, "    ") for raw in found)
        show(f"[\n    {parts}\n]\n" if found else "[]\n")
        return []
    if layout == "json":
        show(f"[{','.join(raw.strip() for raw in found)}]\n")
        return []
    from pier_cli.gotemplate import TemplateError
    from pier_cli.schema import DOCUMENTS

    template = compiled(layout.replace("\\t", "\t").replace("\\n", "\n"))
    lines, errors = [], []
    for raw in found:
        try:
            lines.append(template.render(loads(raw), DOCUMENTS))
        except TemplateError as error:
            errors.append(f"template parsing error: {error}")
    show("".join(f"{line}\n" for line in lines) or "\n")
    return errors


def _inspect(layout: str, names: list[str], fetch: Callable[[str], str]) -> int:
    if layout and layout != "json":
        from pier_cli.formats import compiled

        compiled(layout)
    found: list[str] = []
    errors: list[str] = []
    for name in names:
        try:
            found.append(fetch(name))
        except Unreachable:
            raise
        except Failure as failure:
            errors.append(failure.message)
    errors = _show(layout, found) + errors
    if errors:
        raise Failure("\n".join(errors))
    return 0


def _kind(kind: str) -> Callable[[Context, Options, list[str]], int]:
    def run(context: Context, options: Options, arguments: list[str]) -> int:
        query = [("size", "1")] if kind == "container" and options.flag("size") else []
        return _inspect(options.text("format"), arguments, lambda name: _fetch(context, kind, name, query))

    return run


def _run(context: Context, options: Options, arguments: list[str]) -> int:
    wanted = options.text("type")
    if options.given("type") and wanted not in _PATHS:
        known = ", ".join(f'"{kind}"' for kind in _PATHS)
        raise Failure(f'unknown type: "{wanted}": must be one of {known}')
    kinds = [wanted] if wanted else list(_PATHS)

    def fetch(name: str) -> str:
        for kind in kinds:
            query = [("size", "1")] if kind == "container" and options.flag("size") else []
            try:
                return _fetch(context, kind, name, query)
            except EngineError as error:
                if error.status != 404 or wanted:
                    raise
        raise Failure(f"Error: No such object: {name}")

    return _inspect(options.text("format"), arguments, fetch)


_SIZE = Flag("size", "s", "bool", "Display total file sizes")
COMMAND = Command(_run, "[OPTIONS] NAME|ID [NAME|ID...]", (
    ONE_FORMAT,
    Flag("size", "s", "bool", "Display total file sizes if the type is container"),
    Flag("type", "", "string", "Only inspect objects of the given type"),
), least=1)
CONTAINER = Command(_kind("container"), "[OPTIONS] CONTAINER [CONTAINER...]", (ONE_FORMAT, _SIZE), least=1)
IMAGE = Command(_kind("image"), "[OPTIONS] IMAGE [IMAGE...]", (ONE_FORMAT,), least=1)
NETWORK = Command(_kind("network"), "[OPTIONS] NETWORK [NETWORK...]", (ONE_FORMAT,), least=1)
VOLUME = Command(_kind("volume"), "[OPTIONS] VOLUME [VOLUME...]", (ONE_FORMAT,), least=1)
