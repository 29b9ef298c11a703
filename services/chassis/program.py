"""The inside of a helper program (see programs.py): its request, its errors, its output. No asyncio is imported."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, Final

from chassis import kernel
from chassis.errors import Internal, InvalidArgument, PierError, ResourceExhausted

PARENT: Final = "parent"
"""Key of the request: the pid of who started the program."""


def of_os(error: OSError) -> PierError:
    """What the kernel said, as one of our errors."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResourceExhausted("no space left on device", reason="NO_SPACE")
    if error.errno == errno.ENAMETOOLONG:
        return InvalidArgument("a path in this tree is longer than the kernel's 4096 bytes", reason="NAME_TOO_LONG")
    return Internal(str(error))


def main(
    text: str, work: Callable[[dict[str, Any]], None], of_os: Callable[[OSError], PierError] = of_os,
    parent: int = 0,
) -> int:
    """Do ``work`` on the request in ``text``. The exit status: 0, or 1 with the error as the last line of standard
    error. It ends with whoever started it, ``parent`` or the one that the request names: nobody else knows of it."""
    try:
        request = json.loads(_text_of(text))
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != (parent or request[PARENT]):
            return 1
        work(request)
    except PierError as error:
        found = error
    except OSError as error:
        if error.errno == errno.EPIPE:
            return 1  # nobody reads any more
        found = of_os(error)
    except ValueError as error:
        found = Internal(str(error))
    else:
        return 0
    print(json.dumps([found.grpc_code, found.reason, found.message, found.field]), file=sys.stderr)
    return 1


def _text_of(argument: str) -> str:
    """The request: the argument itself, or what is in the descriptor that ``@NUMBER`` names."""
    if not argument.startswith("@"):
        return argument
    with open(int(argument[1:]), encoding="ascii") as file:
        file.seek(0)
        return file.read()


def write(data: bytes) -> None:
    """To standard output, all of it."""
    view = memoryview(data)
    while view:
        view = view[os.write(1, view):]


def tell(result: object) -> None:
    """The program's result, JSON, for ``programs.result``: standard output may be its data's."""
    print(json.dumps(result), file=sys.stderr)
