"""What a running command is given besides its options: the engine it talks to, and the environment."""

from __future__ import annotations

import posix

from pier_cli.engine import Engine
from pier_cli.failure import Failure


def environment(name: str) -> str:
    """A variable of the environment, "" where it is not set."""
    return posix.environ.get(name.encode(), b"").decode("utf-8", "surrogateescape")


class Context:
    """``host`` and ``instance`` are the global flags, "" where not given; ``words`` are the command's own."""

    def __init__(self, host: str = "", instance: str = "") -> None:
        self.words = ""
        self._host = host
        self._instance = instance
        self._engine: Engine | None = None

    @property
    def instance(self) -> str:
        return self._instance or environment("PIER_INSTANCE") or "pier"

    @property
    def host(self) -> str:
        """-H, else --instance's own socket, else PIER_HOST, else DOCKER_HOST, else PIER_INSTANCE's or the default's."""
        if self._host:
            return self._host
        if not self._instance:
            for name in ("PIER_HOST", "DOCKER_HOST"):
                if environment(name):
                    return environment(name)
        run = environment("PIER_RUN") if not self._instance else ""
        return f"unix://{run or '/run/' + run_directory(self.instance)}/pier.sock"

    @property
    def engine(self) -> Engine:
        if self._engine is None:
            host = self.host
            if environment("DOCKER_TLS_VERIFY") and not host.startswith("unix://"):
                raise Failure("DOCKER_TLS_VERIFY is set, and this command does not speak TLS yet: use a unix socket")
            self._engine = Engine(host, environment("DOCKER_API_VERSION"))
        return self._engine


def run_directory(instance: str) -> str:
    """Name of the instance's directory below /run."""
    plain = instance.replace("-", "")
    if not (plain.isascii() and plain.isalnum() and plain.islower() and instance[0].isalpha() and len(instance) < 16):
        raise Failure(f"--instance: {instance!r} is not a lower-case word of at most 15 letters, digits and '-'")
    return "pier" if instance == "pier" else f"pier-{instance}"
