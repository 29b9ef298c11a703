"""``-p`` and ``--expose``."""

from __future__ import annotations

from pier_cli.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    Bindings = dict[str, list[dict[str, str]]]

_PROTOCOLS = ("tcp", "udp", "sctp")


def _number(text: str) -> int:
    """A port number. ValueError with Go's words."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f'strconv.ParseUint: parsing "{text}": invalid syntax')
    if int(text) > 65535:
        raise ValueError(f'strconv.ParseUint: parsing "{text}": value out of range')
    return int(text)


def _range(text: str) -> tuple[int, int]:
    if not text:
        raise ValueError("empty string specified for ports")
    first, dash, last = text.partition("-")
    start = _number(first)
    end = _number(last) if dash else start
    if end < start:
        raise ValueError(f"invalid range specified for port: {text}")
    return start, end


def _address(text: str) -> bool:
    import _socket

    for family in (_socket.AF_INET, _socket.AF_INET6):
        try:
            _socket.inet_pton(family, text.partition("%")[0] if family == _socket.AF_INET6 else text)
            return True
        except OSError:
            continue
    return False


def _split(spec: str) -> tuple[str, str, str]:
    """Address, host port and container port of ``[ADDRESS:][HOST:]CONTAINER``."""
    parts = spec.split(":")
    if len(parts) == 1:
        return "", "", parts[0]
    if len(parts) == 2:
        return "", parts[0], parts[1]
    return ":".join(parts[:-2]), parts[-2], parts[-1]


def _long_form(spec: str) -> str:
    """``published=8080,target=80,protocol=udp`` in the short notation."""
    given = {"protocol": "tcp"}
    for pair in spec.split(","):
        key, equals, value = pair.partition("=")
        if not equals or not value:
            raise Failure(f"invalid publish opts format (should be name=value but got '{pair}')")
        given[key.lower()] = value
    return f"{given.get('published', '')}:{given.get('target', '')}/{given['protocol']}"


def parse_publish(specs: list[str]) -> tuple[dict[str, dict[str, str]], Bindings]:
    """Exposed ports and bindings of all ``-p`` values, with docker's errors."""
    exposed: dict[str, dict[str, str]] = {}
    bindings: Bindings = {}
    for spec in specs:
        _publish(_long_form(spec) if "=" in spec else spec, exposed, bindings)
    return exposed, bindings


def _publish(spec: str, exposed: dict[str, dict[str, str]], bindings: Bindings) -> None:
    address, host, container = _split(spec)
    container, slash, protocol = container.partition("/")
    protocol = protocol.lower() if slash and protocol else "tcp"
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    if address and not _address(address):
        raise Failure(f"invalid IP address: {address}")
    if not container:
        raise Failure(f"no port specified: {spec}<empty>")
    try:
        start, end = _range(container)
    except ValueError:
        raise Failure(f"invalid containerPort: {container}") from None
    host_start = host_end = 0
    if host:
        try:
            host_start, host_end = _range(host)
        except ValueError:
            raise Failure(f"invalid hostPort: {host}") from None
    if host and end - start != host_end - host_start and end != start:
        raise Failure(f"invalid ranges specified for container and host Ports: {container} and {host}")
    if protocol not in _PROTOCOLS:
        raise Failure(f"invalid proto: {protocol}")
    for offset in range(end - start + 1):
        port = f"{start + offset}/{protocol}"
        shown = str(host_start + offset) if host else ""
        if host and start == end and host_start != host_end:
            shown = f"{host_start}-{host_end}"  # the engine chooses one of these
        exposed[port] = {}
        bindings.setdefault(port, []).append({"HostIp": address, "HostPort": shown})


def parse_expose(specs: list[str]) -> dict[str, dict[str, str]]:
    """Ports of all ``--expose`` values: ``80``, ``80/udp``, ``8000-8010``."""
    exposed: dict[str, dict[str, str]] = {}
    for spec in specs:
        if ":" in spec:
            raise Failure(f"invalid port format for --expose: {spec}")
        ports, _, protocol = spec.partition("/")
        try:
            start, end = _range(ports)
        except ValueError as error:
            raise Failure(f"invalid range format for --expose: {spec}, error: {error}") from None
        if (protocol or "tcp").lower() not in _PROTOCOLS:
            raise Failure(f"invalid proto: {protocol}")
        for number in range(start, end + 1):
            exposed[f"{number}/{(protocol or 'tcp').lower()}"] = {}
    return exposed
