"""What a new container takes from another container, or from its image, beside its own settings."""

from __future__ import annotations

from chassis.errors import InvalidArgument, NotFound
from coordinator import image_config
from coordinator.create import find_image
from coordinator.plans import plan_of
from gateway.rest.call import Call
from gateway.rest.draft import Draft
from gateway.rest.errors import bad
from gateway.rest.find import find_container
from gateway.rest.port_settings import parse_port
from pier.engine.v1 import engine_pb2
from pier.exec.v1 import exec_pb2
from pier.network.v1 import network_pb2
from pier.types.v1 import types_pb2


async def volumes(call: Call, draft: Draft, text: str) -> None:
    """Mount what another container has mounted, where nothing is mounted yet."""
    name, _, mode = text.partition(":")
    if mode not in ("", "ro", "rw", "z", "Z"):
        raise bad(f"invalid mode: {mode[:80]}", field="HostConfig.VolumesFrom", expected="ro or rw")
    try:
        other = await find_container(call, name)
    except NotFound as error:  # by a "not found" of anything but the image the command would pull the image
        raise bad(error.message, field="HostConfig.VolumesFrom") from error
    named = {volume.target: volume.name for volume in _plan(other).volumes}
    taken = set(draft.targets())
    for mount in other.spec.mounts:
        if mount.target in taken or mount.type != "bind":
            continue
        read_only = mode == "ro" or "ro" in {option.key for option in mount.options}
        if mount.target in named:
            draft.volumes.append(engine_pb2.VolumeMount(
                name=named[mount.target], target=mount.target, read_only=read_only, no_copy=True))
            continue
        copy = types_pb2.MountSpec()
        copy.CopyFrom(mount)
        if read_only and "ro" not in {option.key for option in mount.options}:
            copy.options.add(key="ro")
        draft.spec.mounts.append(copy)


async def ports(call: Call, draft: Draft) -> None:
    """Each exposed port, the image's too, at a free port of the host, unless it is published already."""
    image = await find_image(call.engine.services, draft.image)
    exposed = set(draft.exposed)
    for text in image_config.parse(image.config).exposed_ports or ():
        number, protocol = parse_port(text, "image")
        exposed.add(f"{number}/{protocol}")
    published = {f"{port.container_port}/{port.protocol}" for port in draft.ports}
    for text in sorted(exposed - published):
        number_text, _, protocol = text.partition("/")
        draft.ports.append(network_pb2.PublishedPort(protocol=protocol, container_port=int(number_text)))


def _plan(container: exec_pb2.Container) -> engine_pb2.ContainerPlan:
    try:
        return plan_of(container)
    except InvalidArgument:  # made by another manager, without one
        return engine_pb2.ContainerPlan()
