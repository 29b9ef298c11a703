"""What a running command is given besides its options: the engine it talks to, and the environment."""

from __future__ import annotations

import posix

from pier_cli.engine import Engine
from pier_cli.failure import Failure

_DEFAULT = "default"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pier_cli.flags import Options
    from pier_cli.tls import Files


def environment(name: str) -> str:
    """A variable of the environment, "" where it is not set."""
    return posix.environ.get(name.encode(), b"").decode("utf-8", "surrogateescape")


class Context:
    """``host``, ``instance``, ``tls`` and ``named`` are the global flags, "" where not given; ``words`` are the
    command's own."""

    def __init__(self, host: str = "", instance: str = "", tls: Options | None = None, named: str = "") -> None:
        self.words = ""
        self._named = named
        self._name = ""
        self._tls = tls
        self._host = host
        self._instance = instance
        self._engine: Engine | None = None

    @property
    def instance(self) -> str:
        return self._instance or environment("PIER_INSTANCE") or "pier"

    @property
    def name(self) -> str:
        """The docker context that holds: --context, else DOCKER_CONTEXT, else config.json's; "default" where an address
        or an instance is given by flag or environment."""
        if not self._name:
            self._name = self._named or self._unnamed()
        return self._name

    def _unnamed(self) -> str:
        if self._host or self._instance or any(map(environment, ("PIER_HOST", "DOCKER_HOST", "PIER_INSTANCE"))):
            return _DEFAULT
        if name := environment("DOCKER_CONTEXT"):
            return name
        try:
            # Hardly anybody has a context in use: then the file is only looked at, if there is one.
            with open(f"{config_directory()}/config.json", "rb") as file:
                if b"currentContext" not in file.read():
                    return _DEFAULT
        except OSError:
            return _DEFAULT
        from pier_cli import contexts

        return contexts.in_use()

    @property
    def host(self) -> str:
        """The address of the engine: the context's, where one is named, else the environment's."""
        if self.name == _DEFAULT:
            return self.default_host
        from pier_cli import contexts

        return contexts.find(self.name).host or self.default_host

    @property
    def default_host(self) -> str:
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
        """A context's own; of the default one --tlsverify or DOCKER_TLS_VERIFY, --tls; None for none of them. Files not
        given are docker's, where they are."""
        if self.name != _DEFAULT:
            return self._named_files()
        given = self._tls
        verify = bool(environment("DOCKER_TLS_VERIFY")) or (given is not None and given.flag("tlsverify"))
        if not verify and not (given is not None and given.flag("tls")):
            return None
        from pier_cli.tls import Files, standing

        home = environment("DOCKER_CERT_PATH") or config_directory()
        ca, cert, key = (
            given.text(flag) if given is not None and given.given(flag) else standing(f"{home}/{name}")
            for flag, name in (("tlscacert", "ca.pem"), ("tlscert", "cert.pem"), ("tlskey", "key.pem"))
        )
        return Files(ca, cert, key, verify)

    def _named_files(self) -> Files | None:
        from pier_cli import contexts

        named = contexts.find(self.name)
        if not named.tls and not named.skips_verify:
            return None
        from pier_cli.tls import Files

        tls = named.tls
        return Files(tls.get("ca", ""), tls.get("cert", ""), tls.get("key", ""), not named.skips_verify)


def config_directory() -> str:
    """Where docker keeps what is the user's: DOCKER_CONFIG (``--config`` sets it), or ~/.docker."""
    return environment("DOCKER_CONFIG") or f"{environment('HOME')}/.docker"


def run_directory(instance: str) -> str:
    """Name of the instance's directory below /run."""
    plain = instance.replace("-", "")
    if not (plain.isascii() and plain.isalnum() and plain.islower() and instance[0].isalpha() and len(instance) < 16):
        raise Failure(f"--instance: {instance!r} is not a lower-case word of at most 15 letters, digits and '-'")
    return "pier" if instance == "pier" else f"pier-{instance}"
