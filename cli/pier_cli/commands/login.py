"""``pier login`` and ``pier logout``."""

from __future__ import annotations

import sys

from pier_cli import out
from pier_cli.command import Command
from pier_cli.failure import Failure
from pier_cli.flags import Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier_cli.context import Context
    from pier_cli.flags import Options


def _run(context: Context, options: Options, arguments: list[str]) -> int:
    from pier_cli.credentials import Store, key_of

    key = key_of(arguments[0] if arguments else "")
    user, password = options.text("username"), options.text("password")
    if options.flag("password-stdin"):
        if password:
            raise Failure("--password and --password-stdin are mutually exclusive")
        if not user:
            raise Failure("the --password-stdin option requires --username")
        password = sys.stdin.read().rstrip("\r\n")
    elif password:
        out.error("WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
    store = Store()
    auth = store.get(key)
    if user or password or not auth:
        auth = _asked(user or ("" if password else auth.get("username", "")), password, key)
    answer = context.engine.call("POST", "/auth", body=auth)
    if answer.get("IdentityToken"):
        auth = {**auth, "password": "", "identitytoken": answer["IdentityToken"]}
    if warning := store.put(key, auth):
        out.error(warning)
    out.line(answer["Status"])
    return 0


def _asked(user: str, password: str, key: str) -> dict[str, str]:
    """What is not given is asked for, on a terminal."""
    if (not user or not password) and not out.is_terminal(0):
        raise Failure("Error: Cannot perform an interactive login from a non TTY device")
    if not user:
        user = input("Username: ").strip()
        if not user:
            raise Failure("Error: Non-null Username Required")
    if not password:
        from getpass import getpass

        password = getpass("Password: ")
        if not password:
            raise Failure("Error: Password Required")
    return {"username": user, "password": password, "serveraddress": key}


def _logout(context: Context, options: Options, arguments: list[str]) -> int:
    from pier_cli.credentials import Store, key_of

    key = key_of(arguments[0] if arguments else "")
    if Store().forget(key):
        out.line(f"Removing login credentials for {key}")
    else:
        out.line(f"Not logged in to {key}")
    return 0


COMMAND = Command(_run, "[OPTIONS] [SERVER]", (
    Flag("password", "p", "string", "Password"),
    Flag("password-stdin", "", "bool", "Take the password from stdin"),
    Flag("username", "u", "string", "Username"),
), most=1)
LOGOUT = Command(_logout, "[SERVER]", most=1)
