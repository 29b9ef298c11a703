"""X-Registry-Auth: either alphabet, with or without padding, and nothing for what cannot be read."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rest import registry_auth
from pier.image.v1 import image_pb2 as pb


def header(document, encode=base64.urlsafe_b64encode):
    return encode(json.dumps(document).encode()).decode()


@pytest.mark.parametrize("encode", [base64.urlsafe_b64encode, base64.b64encode])
@pytest.mark.parametrize("padded", [True, False])
@given(username=st.text(), password=st.text(max_size=20))
def test_credentials_are_read_in_every_spelling_of_base64(encode, padded, username, password):
    text = header({"username": username, "password": password, "serveraddress": "x", "email": "y"}, encode)
    found = registry_auth.decode(text if padded else text.rstrip("="))
    if username or password:
        assert (found.username, found.password) == (username, password)


def test_the_joined_pair_counts_where_the_two_are_missing():
    found = registry_auth.decode(header({"auth": base64.b64encode(b"me:pass:word").decode()}))
    assert (found.username, found.password) == ("me", "pass:word")


def test_tokens_are_handed_on():
    found = registry_auth.decode(header({"identitytoken": "i", "registrytoken": "r"}))
    assert (found.identity_token, found.registry_token) == ("i", "r")


@pytest.mark.parametrize("text", ["", "e30=", "e30", "%%%", "bnVsbA==", "W10=", header({"username": 7})])
def test_nothing_and_nonsense_are_no_credentials(text):
    assert registry_auth.decode(text) == pb.RegistryAuth()


@given(st.text())
def test_any_header_is_read_without_an_error(text):
    assert isinstance(registry_auth.decode(text), pb.RegistryAuth)
