"""``pier build``: an image from a Dockerfile and a context."""

from __future__ import annotations

from pier_cli import out
from pier_cli.command import Command
from pier_cli.failure import Failure
from pier_cli.flags import Flag
from pier_cli.specs import values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pier_cli.build_context import Packed
    from pier_cli.build_progress import Shown
    from pier_cli.context import Context
    from pier_cli.flags import Options

_REMOTE = ("http://", "https://", "git://", "ssh://", "git@", "github.com/")
_PROGRESS = ("auto", "plain", "tty", "json", "quiet")
_BLOCK = 256 * 1024


def _run(context: Context, options: Options, arguments: list[str]) -> int:
    from pier_cli.commands.system import find_services

    find_services()
    from pier_cli import build_output, build_progress
    from pier_cli.build_context import Further
    from pier_cli.build_ssh import Agents
    from pier_cli.build_upload import CONTENT_TYPE, Upload
    from pier_cli.credentials import registry_config

    if options.text("progress") not in _PROGRESS:
        raise Failure(f"invalid progress mode {options.text('progress')!r}: use one of {', '.join(_PROGRESS)}")
    output = build_output.parse(options.text("output"))
    packed, body, extension, query = _context(options, arguments[0])
    further = Further(options.items("build-context"))
    with output, Agents(options.items("ssh")) as agents:
        extension |= {
            "secrets": build_output.secrets(options.items("secret")), "output": output.kind,
            "contexts": further.places, "noCacheStages": options.items("no-cache-filter"),
            "check": options.flag("check"), "ssh": agents.ids,
        }
        upload = Upload(extension, body, further.open, agents)
        response = context.engine.request(
            "POST", "/build", [*query, *_query(options)], upload.read,
            {"Content-Type": CONTENT_TYPE, **registry_config()}, beside=True)
        result = _shown(options, output.fd).follow(upload.follow(response.connection, response.objects()))
        if packed is not None:
            packed.check()
        further.check()
        output.finish()
    if options.flag("check"):
        count = result.warnings
        found = "no warnings found." if not count else f"{count} warning{'s have' if count > 1 else ' has'} been found!"
        out.line(f"Check complete, {found}")
        return 0
    if options.text("iidfile"):
        build_output.write(options.text("iidfile"), result.image)
    if options.flag("quiet"):
        out.line(result.image)
    if options.flag("explain"):
        out.put(build_progress.explained(result))
    return 0


def _context(
    options: Options, place: str
) -> tuple[Packed | None, Callable[[], bytes], dict[str, Any], list[tuple[str, str]]]:
    """The directory's packer, the body's blocks, and what is said about the Dockerfile."""
    import posix

    from pier_cli.build_context import Packed, dockerfile, is_archive
    from pier_cli.build_output import base64
    from pier_cli.uploads import blocks_of

    wanted = options.text("file")
    if place.startswith(_REMOTE):
        query = [("remote", place), *([("dockerfile", wanted)] if wanted else [])]
        return None, lambda: b"", {}, query
    if place == "-":
        if wanted == "-":
            raise Failure("invalid argument: can't use stdin for both build context and dockerfile")
        head = b""
        while len(head) < 512 and (piece := posix.read(0, _BLOCK)):
            head += piece
        if not is_archive(head):
            return None, lambda: b"", {"dockerfile": base64(head + _rest())}, []
        pieces = [head]
        read = blocks_of(0)
        return None, lambda: pieces.pop() if pieces else read(), {}, [("dockerfile", wanted)] if wanted else []
    found = dockerfile(place, wanted, _rest() if wanted == "-" else b"")
    packed = Packed(place, found.name)
    extension = {"dockerfile": base64(found.text)} if found.text or wanted == "-" else {}
    return packed, packed.read, extension, [("dockerfile", found.name)] if found.name else []


def _rest() -> bytes:
    """The standard input to its end."""
    import posix

    parts = []
    while piece := posix.read(0, _BLOCK):
        parts.append(piece)
    return b"".join(parts)


def _query(options: Options) -> list[tuple[str, str]]:
    from pier_cli.codec import dumps
    from pier_cli.context import environment

    query = [("t", tag) for tag in options.items("tag")]
    query += [("extrahosts", host) for host in options.items("add-host")]
    arguments = {}
    for text in options.items("build-arg"):
        name, equals, value = text.partition("=")
        if equals or environment(name):
            arguments[name] = value if equals else environment(name)
    labels = dict(text.partition("=")[::2] for text in options.items("label"))
    query += [(key, dumps(value)) for key, value in (("buildargs", arguments), ("labels", labels)) if value]
    if images := options.items("cache-from"):
        query.append(("cachefrom", dumps(images)))
    for key, flag in (("nocache", "no-cache"), ("pull", "pull")):
        if options.flag(flag):
            query.append((key, "1"))
    for key, flag in (("target", "target"), ("platform", "platform"), ("networkmode", "network"),
                      ("cpusetcpus", "cpuset-cpus"), ("cpusetmems", "cpuset-mems"),
                      ("cgroupparent", "cgroup-parent")):
        if options.text(flag):
            query.append((key, options.text(flag)))
    for key, flag in (("memory", "memory"), ("memswap", "memory-swap"), ("cpushares", "cpu-shares"),
                      ("cpuperiod", "cpu-period"), ("cpuquota", "cpu-quota"), ("shmsize", "shm-size")):
        if options.number(flag):
            query.append((key, str(options.number(flag))))
    if ulimits := options.items("ulimit"):
        query.append(("ulimits", dumps(ulimits)))
    return query


def _shown(options: Options, output: int) -> Shown:
    from pier_cli import build_progress

    wanted = options.text("progress")
    if options.flag("quiet") or wanted == "quiet":
        return build_progress.Shown(output)
    if wanted == "auto":
        wanted = "tty" if out.is_terminal(2) else "plain"
    return {"json": build_progress.Json, "tty": build_progress.Terminal}.get(wanted, build_progress.Plain)(output)


COMMAND = Command(_run, "[OPTIONS] PATH | URL | -", (
    Flag("add-host", "", "list", 'Add a custom host-to-IP mapping ("host:ip")'),
    Flag("build-arg", "", "list", "Set build-time variables"),
    Flag("build-context", "", "map", 'Additional build contexts (e.g., "name=path", "name=docker-image://image")'),
    Flag("cache-from", "", "strings", "Images to consider as cache sources"),
    Flag("cgroup-parent", "", "string", 'Set the parent cgroup for the "RUN" instructions during build'),
    Flag("check", "", "bool", "Check the Dockerfile, and build nothing"),
    Flag("cpu-period", "", "int", "Limit the CPU CFS (Completely Fair Scheduler) period"),
    Flag("cpu-quota", "", "int", "Limit the CPU CFS (Completely Fair Scheduler) quota"),
    Flag("cpu-shares", "c", "int", "CPU shares (relative weight)"),
    Flag("cpuset-cpus", "", "string", 'CPUs in which to allow execution ("0-3", "0,1")'),
    Flag("cpuset-mems", "", "string", 'MEMs in which to allow execution ("0-3", "0,1")'),
    Flag("explain", "", "bool", "Say of each step why it was carried out"),
    Flag("file", "f", "string", 'Name of the Dockerfile (default: "PATH/Dockerfile")'),
    Flag("iidfile", "", "string", "Write the image ID to a file"),
    Flag("label", "", "list", "Set metadata for an image"),
    Flag("memory", "m", "bytes", "Memory limit"),
    Flag("memory-swap", "", "bytes", 'Swap limit equal to memory plus swap: "-1" to enable unlimited swap'),
    Flag("network", "", "string", 'Set the networking mode for the "RUN" instructions during build'),
    Flag("no-cache", "", "bool", "Do not use cache when building the image"),
    Flag("no-cache-filter", "", "strings", "Do not cache specified stages"),
    Flag("output", "o", "string", 'Output destination ("type=local|tar|oci,dest=path", or a directory)'),
    Flag("platform", "", "string", "Set target platform for build"),
    Flag("progress", "", "string", 'Set type of progress output ("auto", "plain", "tty", "json", "quiet")',
         default="auto"),
    Flag("pull", "", "bool", "Always attempt to pull all referenced images"),
    Flag("quiet", "q", "bool", "Suppress the build output and print image ID on success"),
    Flag("secret", "", "list", 'Secret to expose to the build ("id=mysecret,src=/local/secret")'),
    Flag("shm-size", "", "bytes", 'Shared memory size for "RUN" instructions'),
    Flag("ssh", "", "list", 'SSH agent socket or keys to expose to the build ("default|id[=socket|key[,key]]")'),
    Flag("tag", "t", "list", 'Name and optionally a tag ("name:tag")'),
    Flag("target", "", "string", "Set the target build stage to build"),
    Flag("ulimit", "", "ulimit", "Ulimit options", check=values.ulimit),
), least=1, most=1)
