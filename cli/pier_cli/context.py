"""What a running command is given besides its options: the engine it talks to, and the environment."""

from __future__ import annotations

import posix

from pier_cli.engine import Engine
from pier_cli.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier_cli.flags import Options
    from pier_cli.tls import Files


def environment(name: str) -> str:
    """A variable of the environment, "" where it is not set."""
    return posix.environ.get(name.encode(), b"").decode("utf-8", "surrogateescape")


class Context:
    """``host``, ``instance`` and ``tls`` are the global flags, "" where not given; ``words`` are the command's own."""

    def __init__(self, host: str = "", instance: str = "", tls: Options | None = None) -> None:
        self.words = ""
        self._tls = tls
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
            version, trace = environment("DOCKER_API_VERSION"), environment("TRACEPARENT")
            self._engine = Engine(self.host, version, self._files(), trace)
        return self._engine


    def _files(self) -> Files | None:
        """--tlsverify or DOCKER_TLS_VERIFY, --tls; None for neither. Files not given are docker's, where they are."""
        given = self._tls
        verify = bool(environment("DOCKER_TLS_VERIFY")) or (given is not None and given.flag("tlsverify"))
        if not verify and not (given is not None and given.flag("tls")):
            return None
        from pier_cli.tls import Files, standing

        home = environment("DOCKER_CERT_PATH") or f"{environment('HOME')}/.docker"
        ca, cert, key = (
            given.text(flag) if given is not None and given.given(flag) else standing(f"{home}/{name}")
            for flag, name in (("tlscacert", "ca.pem"), ("tlscert", "cert.pem"), ("tlskey", "key.pem"))
        )
        return Files(ca, cert, key, verify)


def run_directory(instance: str) -> str:
    """Name of the instance's directory below /run."""
    plain = instance.replace("-", "")
    if not (plain.isascii() and plain.isalnum() and plain.islower() and instance[0].isalpha() and len(instance) < 16):
        raise Failure(f"--instance: {instance!r} is not a lower-case word of at most 15 letters, digits and '-'")
    return "pier" if instance == "pier" else f"pier-{instance}"
