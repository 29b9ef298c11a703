"""``pier network explain``: which firewall rule would decide a packet to a published port."""

from __future__ import annotations

from pier_cli import out
from pier_cli.codec import dumps
from pier_cli.command import Command
from pier_cli.flags import Flag
from pier_cli.many import container_path
from pier_cli.specs.portlist import join_host_port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pier_cli.context import Context
    from pier_cli.flags import Options

_SAID = {
    "accept": "accepted", "drop": "dropped", "reject": "rejected", "depends": "depends on the sender",
}


def _run(context: Context, options: Options, arguments: list[str]) -> int:
    container, port = arguments
    answer = context.engine.call("GET", f"{container_path(container)}/ports/explain", (("port", port),))
    if options.flag("json"):
        out.line(dumps(answer))
        return 0
    for number, each in enumerate(answer):
        if number:
            out.line("")
        for line in lines(port, each):
            out.line(line)
    return 0


def lines(port: str, each: dict[str, Any]) -> list[str]:
    """One binding: its verdict, the rule that gives it, and all that end or may end a chain, in the kernel's order."""
    where = join_host_port(each["HostIp"], each["HostPort"]) if each["HostPort"] else "its own address"
    led = f" -> {each['LeadsTo']}" if each["LeadsTo"] else ""
    shown = [f"{port} at {where}{led}: {_SAID[each['Verdict']]}"]
    if each["LeadsElsewhere"]:
        shown.append("  no rule of ours leads it to the container")
    decides = each["DecidedBy"]
    if decides < 0:
        shown.append("  no chain objects")
    for index, step in enumerate(each["Steps"]):
        mark = "=>" if index == decides else "  "
        owner = "ours" if step["Ours"] else "not ours"
        may = "" if step["Certain"] else " (may)"
        place = f"{step['Family']} {step['Table']} {step['Chain']}"
        shown.append(f"{mark} {step['Hook']} {step['Priority']:>5}  {place} ({owner}): {step['Verdict']}{may}: "
                     f"{step['Rule']}")
    return shown


COMMAND = Command(
    _run, "[OPTIONS] CONTAINER PRIVATE_PORT[/PROTO]",
    (Flag("json", "", "bool", "Print the explanation as JSON"),), least=2, most=2,
    text="The kernel's whole ruleset is asked, other programs' tables too: a packet goes through the base chains of a\n"
         "hook by priority, an accept ends its chain alone, a drop ends everything. => marks the rule that decides.",
)
