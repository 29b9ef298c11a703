"""Row 46 of the attacks: an id that a client chose, taken for a path. The table is made of the .proto files.

Each rpc of each service is called with a request in which every id is a plausible one, except one field, which has a
path. What is new in a contract cannot be forgotten here.
"""

import asyncio
import importlib
import os
import pkgutil
import re
import secrets
from pathlib import Path

import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor

import pier
from chassis.client import Peer
from chassis.errors import PierError
from tests.engine import PROGRAMS

CANARY = "escaped46"
BAD = (f"../../../{CANARY}", f"a/../{CANARY}", f"/{CANARY}", "..", f"{CANARY}\n", "\x1b]", "x" * 70_000)
SERVICES = {"image": "imaged", "network": "netd", "exec": "execd", "build": "buildd", "engine": "gateway"}
WORDS = ("id", "key", "namespace", "manager", "pour", "lease", "container", "snapshot", "volume", "network", "digest")
"""What fields that hold an id are called, and how other ones end behind an underscore."""
PLAUSIBLE = {
    "id": "0" * 64, "container": "0" * 64, "network": "nn", "volume": "vv", "namespace": "docker", "manager": "test",
    "digest": f"sha256:{'0' * 64}", "name": "nn", "image": "nn", "reference": "localhost/nn:latest",
    "ref": "word", "path": "/x", "args": "true", "dockerfile_text": "FROM busybox\nRUN true\n",
}
SET = {
    "pier.image.v1.ApplyRequest.momentary": True, "pier.exec.v1.NamespaceRef.kind": 1,
    "pier.exec.v1.ResizeTerminalRequest.height": 10, "pier.exec.v1.ResizeTerminalRequest.width": 10,
}
REFUSALS = ("INVALID_ARGUMENT", "NOT_FOUND", "UNIMPLEMENTED")
NO_IDS = {
    "pier.types.v1.MountOption.key": "a mount option's name, which the kernel judges",
    "pier.types.v1.MountSpec.boot_id": "told by imaged, and compared",
}
WHOLES = ("owner", "files", "process", "spec")
"""Fields with messages that no request does without."""
LEFT_OUT = ("pier.image.v1.ApplyRequest.pour", "pier.build.v1.BuildOptions.context_pour",
            *(f"pier.exec.v1.ContainerSpec.{name}" for name in ("image", "image_id", "sandbox_id")))
"""Fields that are plausible where they are empty."""
PLANNED = "pier.engine.v1.CreateContainerRequest"
"""Of its spec the image and the process are the coordinator's to fill."""
DEEPEST = 4
SECONDS = 20


def contracts():
    """The files of the contracts that services have of their own."""
    names = [found.name for found in pkgutil.walk_packages(pier.__path__, "pier.") if found.name.endswith("_pb2")]
    files = [importlib.import_module(name).DESCRIPTOR for name in names]
    return [file for file in files if file.package.split(".")[1] in SERVICES]


def word(field):
    """Which of the words the field is called by; None for one that holds no id."""
    if field.type != FieldDescriptor.TYPE_STRING or field.full_name in NO_IDS:
        return None
    return next((each for each in WORDS if field.name == each or field.name.endswith(f"_{each}")), None)


def is_own(message):
    return message is not None and message.file.package.startswith("pier.") and not message.GetOptions().map_entry


def ways(message, above=()):
    """The fields that lead to each id in a message."""
    for field in message.fields:
        way = (*above, field)
        if word(field):
            yield way
        elif (is_own(field.message_type) and len(way) < DEEPEST
              and field.message_type not in [each.message_type for each in above]):
            yield from ways(field.message_type, way)


CONTRACTS = [service for file in contracts() for service in file.services_by_name.values()]


def filled(descriptor, way=(), value="", above=None):
    """A message that is plausible as far as it can be told, but for ``value`` at the end of the ``way``."""
    message = message_factory.GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if (way and field is way[0]) or field.containing_oneof is not None or field.full_name in LEFT_OUT:
            continue
        if word(field):
            unique = field.name == "operation_id"
            put(message, field, secrets.token_hex(8) if unique else PLAUSIBLE.get(word(field), "word"))
        elif field.name in PLAUSIBLE and field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES):
            of_bytes = field.type == FieldDescriptor.TYPE_BYTES
            put(message, field, PLAUSIBLE[field.name].encode() if of_bytes else PLAUSIBLE[field.name])
        elif field.full_name in SET:
            put(message, field, SET[field.full_name])
        elif field.name in WHOLES and is_own(field.message_type) and (above or descriptor).full_name != PLANNED:
            put(message, field, filled(field.message_type, above=above or descriptor))
    if way:
        further = way[0].message_type
        put(message, way[0], filled(further, way[1:], value, above or descriptor) if len(way) > 1 else value)
    return message


def put(message, field, value):
    if field.is_repeated:
        getattr(message, field.name).append(value)
    elif field.message_type is not None:
        getattr(message, field.name).CopyFrom(value)
    else:
        setattr(message, field.name, value)


async def refusals(engine, method, requests):
    """What a call with each request is refused with; None where it is answered."""
    name = SERVICES[method.containing_service.file.package.split(".")[1]]
    socket = engine.instance.engine_socket if name == "gateway" else engine.instance.socket(name)
    peer = Peer(name, socket)
    kinds = {(False, False): "unary_unary", (True, False): "stream_unary", (False, True): "unary_stream",
             (True, True): "stream_stream"}
    call = getattr(peer.channel, kinds[method.client_streaming, method.server_streaming])(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=message_factory.GetMessageClass(method.output_type).FromString)

    async def one(request):
        yield request

    async def outcome(request):
        sent = one(request) if method.client_streaming else request
        try:
            if method.server_streaming:
                async for _ in peer.stream(call, sent, SECONDS):
                    pass
            else:
                await peer.call(call, sent, SECONDS)
        except PierError as error:
            return error
        return None

    try:
        return [await outcome(request) for request in requests]
    finally:
        await peer.close()


def is_refusal(error, field):
    """Whether ``error`` is about the field, or says that there is no such thing."""
    if error is None or error.grpc_code not in REFUSALS:
        return False
    named = re.search(rf"\b{field.name}\b", f"{error.field} {error.message}")
    return error.grpc_code != "INVALID_ARGUMENT" or named is not None


@pytest.mark.parametrize("service", CONTRACTS, ids=lambda service: service.full_name)
def test_row_46_an_id_is_never_a_path(engine, service):
    before = [engine.pid(program) for program in PROGRAMS]
    answered = {}
    for method in service.methods:
        for way in ways(method.input_type):
            errors = asyncio.run(refusals(engine, method, [filled(method.input_type, way, bad) for bad in BAD]))
            answered[method.name, ".".join(field.name for field in way)] = [
                (bad[:20], error and (error.grpc_code, error.field, error.message[:100]))
                for bad, error in zip(BAD, errors, strict=True) if not is_refusal(error, way[-1])]
    assert not {where: answers for where, answers in answered.items() if answers}
    assert [engine.pid(program) for program in PROGRAMS] == before
    for top in {engine.instance.root, engine.instance.run, Path("/"), Path("/run"), Path("/tmp"), Path.cwd()}:
        assert CANARY not in os.listdir(top)


def test_the_table_holds_what_the_contracts_have():
    found = [way for service in CONTRACTS for method in service.methods for way in ways(method.input_type)]
    assert len(found) > 200
