"""``pier context …``: named engines in docker's own store, for both commands alike."""

from __future__ import annotations

from functools import partial

from pier_cli import contexts, out
from pier_cli.codec import dumps, indented
from pier_cli.command import Command
from pier_cli.failure import Failure
from pier_cli.flags import Flag
from pier_cli.formats import print_list, print_one, show
from pier_cli.gotemplate import Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier_cli.context import Context
    from pier_cli.flags import Options

_OF_THE_ENVIRONMENT = "Current DOCKER_HOST based configuration"
_ENDPOINT = ("host", "ca", "cert", "key", "skip-tls-verify", "from")


def _endpoint(text: str) -> dict[str, str]:
    """``host=tcp://…,ca=FILE,…`` of --docker."""
    found = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if key not in _ENDPOINT or not equals:
            raise Failure(f"unrecognized config key: {key}")
        found[key] = value
    return found


def _given(text: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The endpoint and the TLS files that --docker describes."""
    words = _endpoint(text)
    if source := words.get("from"):
        named = contexts.find(source)
        return named.endpoint, {kind: _read(path) for kind, path in named.tls.items()}
    tls = {kind: _read(words[kind]) for kind in contexts.TLS_FILES if words.get(kind)}
    if ("cert" in tls) != ("key" in tls):
        raise Failure("unable to create docker endpoint config: cert and key go together")
    skips = words.get("skip-tls-verify", "false")
    if skips not in ("true", "false", "1", "0"):
        raise Failure(f'unable to create docker endpoint config: skip-tls-verify: "{skips}" is neither true nor false')
    host = words.get("host", "")
    if host:
        _check_host(host)
    return {"Host": host, "SkipTLSVerify": skips in ("true", "1")}, tls


def _check_host(host: str) -> None:
    if host.startswith("ssh://"):
        from pier_cli import ssh

        ssh.parse(host)
    else:
        from pier_cli.engine import parse_host

        parse_host(host)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise Failure(f"unable to create docker endpoint config: open {path}: {str(error.strerror).lower()}") from None


def _create(context: Context, options: Options, arguments: list[str]) -> int:
    (name,) = arguments
    contexts.check_new(name)
    if options.given("from") and options.given("docker"):
        raise Failure("cannot use --docker flag when --from is set")
    if source := options.text("from"):
        named = contexts.find(source)
        document, tls = dict(named.document), {kind: _read(path) for kind, path in named.tls.items()}
    elif options.given("docker"):
        endpoint, tls = _given(options.text("docker"))
        document = {"Name": name, "Metadata": {}, "Endpoints": {"docker": endpoint}}
    else:
        raise Failure("docker endpoint configuration is required")
    if options.given("description"):
        document["Metadata"] = {**(document.get("Metadata") or {}), "Description": options.text("description")}
    contexts.write(name, document, tls)
    return _done(name, f'Successfully created context "{name}"')


def _update(context: Context, options: Options, arguments: list[str]) -> int:
    (name,) = arguments
    contexts.check_name(name)
    named = contexts.find(name)
    document, tls = dict(named.document), None
    if options.given("description"):
        document["Metadata"] = {**(document.get("Metadata") or {}), "Description": options.text("description")}
    if options.given("docker"):
        endpoint, tls = _given(options.text("docker"))
        document["Endpoints"] = {**(document.get("Endpoints") or {}), "docker": endpoint}
    contexts.write(name, document, tls)
    return _done(name, f'Successfully updated context "{name}"')


def _done(name: str, said: str) -> int:
    out.line(name)
    out.error(said)
    return 0


def _use(context: Context, options: Options, arguments: list[str]) -> int:
    from pier_cli.context import environment

    (name,) = arguments
    contexts.use(name)
    out.line(name)
    if environment("DOCKER_HOST"):
        out.error("Warning: DOCKER_HOST environment variable overrides the active context. To use "
                  f'"{name}", either set the global --context flag, or unset DOCKER_HOST environment variable.')
    out.error(f'Current context is now "{name}"')
    return 0


def _show(context: Context, options: Options, arguments: list[str]) -> int:
    out.line(out.safe(context.name))
    return 0


def _rm(context: Context, options: Options, arguments: list[str]) -> int:
    wrong = []
    for name in arguments:
        try:
            _remove(name, context.name, forced=options.flag("force"))
        except Failure as failure:
            wrong.append(failure.message)
        else:
            out.line(name)
    if wrong:
        raise Failure("\n".join(wrong))
    return 0


def _remove(name: str, current: str, *, forced: bool) -> None:
    if name == contexts.DEFAULT:
        raise Failure(f'context "{name}" cannot be removed')
    if name == current and not forced:
        raise Failure(f'context "{name}" is in use, set -f flag to force remove')
    if name == contexts.in_use():
        contexts.use(contexts.DEFAULT)
    if forced and not contexts.exists(name):
        return
    contexts.remove(name)


def _rows(context: Context) -> list[dict[str, Any]]:
    default = {"Name": contexts.DEFAULT, "Description": _OF_THE_ENVIRONMENT, "DockerEndpoint": context.default_host,
               "Current": context.name == contexts.DEFAULT, "Error": ""}
    others = [
        {"Name": named.name, "Description": named.description, "DockerEndpoint": named.host,
         "Current": context.name == named.name, "Error": ""}
        for named in contexts.everything()
    ]
    return sorted([default, *others], key=lambda row: str(row["Name"]))


def _list(context: Context, options: Options, arguments: list[str]) -> int:
    rows = [
        Fields("formatter.clientContextContext", {key: partial(row.get, key) for key in row})
        for row in _rows(context)
    ]
    table = "{{.Name}}{{if .Current}} *{{end}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}"
    print_list(options.text("format"), table, _HEADERS, rows, "{{.Name}}", options.flag("quiet"))
    return 0


def _inspect(context: Context, options: Options, arguments: list[str]) -> int:
    found = [_described(context, name) for name in arguments or [context.name]]
    if options.given("format"):
        for each in found:
            print_one(options.text("format"), each)
    else:
        show(indented(dumps(found)) + "\n")
    return 0


def _described(context: Context, name: str) -> dict[str, Any]:
    if name == contexts.DEFAULT:
        endpoint = {"Host": context.default_host, "SkipTLSVerify": False}
        return {"Name": name, "Metadata": {}, "Endpoints": {"docker": endpoint}, "TLSMaterial": {},
                "Storage": {"MetadataPath": "<IN MEMORY>", "TLSPath": "<IN MEMORY>"}}
    named = contexts.find(name)
    files = [contexts.TLS_FILES[kind] for kind in named.tls]
    return {
        "Name": name, "Metadata": named.document.get("Metadata") or {},
        "Endpoints": named.document.get("Endpoints") or {}, "TLSMaterial": {"docker": files} if files else {},
        "Storage": {"MetadataPath": contexts.meta_directory(name), "TLSPath": contexts.tls_directory(name)},
    }


_HEADERS = {"Name": "NAME", "Description": "DESCRIPTION", "DockerEndpoint": "DOCKER ENDPOINT", "Error": "ERROR",
            "Current": ""}
_DOCKER = Flag("docker", "", "string", "Its engine: host=tcp://HOST:PORT|ssh://HOST|unix://PATH, with ca=, cert= and "
               "key= files, skip-tls-verify=true; or from=CONTEXT")
_DESCRIPTION = Flag("description", "", "string", "Description of the context")
CREATE = Command(_create, "[OPTIONS] CONTEXT", (
    _DESCRIPTION, _DOCKER, Flag("from", "", "string", "Create it as a copy of this one"),
), least=1, most=1)
UPDATE = Command(_update, "[OPTIONS] CONTEXT", (_DESCRIPTION, _DOCKER), least=1, most=1)
USE = Command(_use, "CONTEXT", least=1, most=1)
SHOW = Command(_show, most=0)
RM = Command(_rm, "CONTEXT [CONTEXT...]", (
    Flag("force", "f", "bool", "Force the removal of a context in use"),
), least=1)
LS = Command(_list, "[OPTIONS]", (
    Flag("format", "", "string", "Format output using a custom template: 'table', 'json' or a Go template"),
    Flag("quiet", "q", "bool", "Only show context names"),
), most=0)
INSPECT = Command(_inspect, "[OPTIONS] [CONTEXT] [CONTEXT...]", (
    Flag("format", "f", "string", "Format output using a Go template"),
))
