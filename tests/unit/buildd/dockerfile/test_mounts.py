"""Options of RUN --mount."""

import pytest

from buildd.dockerfile import mounts
from buildd.dockerfile.instructions import Mount
from chassis.errors import InvalidArgument


@pytest.mark.parametrize(("text", "expected"), [
    ("target=/a", Mount("bind", "/a", read_only=True)),
    ("type=bind,dst=/a,src=b,from=c,rw", Mount("bind", "/a", "b", "c", read_only=False)),
    ("type=cache,destination=/a,id=x,sharing=Locked,mode=0750,uid=1,gid=2,ro", Mount(
        "cache", "/a", id="x", sharing="locked", mode=0o750, uid=1, gid=2, read_only=True)),
    ("type=tmpfs,target=/a,size=1.5k", Mount("tmpfs", "/a", size=1536, read_only=False)),
    ("type=tmpfs,target=/a,size=64MiB", Mount("tmpfs", "/a", size=64 << 20, read_only=False)),
    ("type=secret,id=x,env=TOKEN,required", Mount("secret", id="x", env="TOKEN", required=True, read_only=True)),
    ("type=secret,target=/a,required=true,mode=400", Mount("secret", "/a", required=True, mode=0o400, read_only=True)),
    ("type=ssh", Mount("ssh", read_only=True)), ("TYPE=SSH,ID=x", Mount("ssh", id="x", read_only=True)),
    ('target=/a,"source=b,c"', Mount("bind", "/a", "b,c", read_only=True)),
    ("target=/a,readonly=false", Mount("bind", "/a", read_only=False)),
    ("target=/a,readwrite=0", Mount("bind", "/a", read_only=True)),
])
def test_each_option_has_its_field(text, expected):
    found = mounts.parse(text)
    assert found == Mount(**{**vars(expected), "text": text})


@pytest.mark.parametrize(("text", "message"), [
    ("type=bnd,target=/a", 'unsupported mount type "bnd" (did you mean bind?)'),
    ("type=cache,target=/a,sharing=x", 'unsupported sharing value "x"'),
    ("targt=/a", "unexpected key 'targt' in 'targt=/a' (did you mean target?)"),
    ("target", "invalid field 'target' must be a key=value pair"), ("", "failed to parse csv mounts: nothing is given"),
    ("xyzzy", "invalid field 'xyzzy' must be a key=value pair"),
    ("target=/a,ro=x", "invalid value for ro: x"), ("target=/a,mode=7", 'mode not allowed for "bind" type mounts'),
    ("type=tmpfs,target=/a,uid=1", 'uid not allowed for "tmpfs" type mounts'),
    ("type=cache,target=/a,mode=9", "invalid value 9 for mode"),
    ("type=cache,target=/a,uid=-1", "invalid value -1 for uid"),
    ("type=cache,target=/a,gid=4294967296", "invalid value 4294967296 for gid"),
    ("target=/a,required", "unexpected key 'required' for mount type 'bind'"),
    ("target=/a,size=1", "unexpected key 'size' for mount type 'bind'"),
    ("type=tmpfs,target=/a,size=x", "invalid value for size: x"),
    ("type=tmpfs,target=/a,size=9999999999p", "invalid value for size: 9999999999p"),
    ("target=/a,sharing=locked", "invalid cache sharing set for bind mount"),
    ("target=/a,env=X", "unexpected key 'env' for mount type 'bind'"),
    ("type=secret", "invalid secret mount. one of source, target required"),
    ("type=secret,from=a,id=b", "secret mount should not have a from"),
    ("type=secret,source=a,id=b", "both source and id can't be set"),
    ("type=secret,id=b,sharing=shared", "secret mount should not define sharing"),
    ("type=cache", 'invalid mount target ""'), ("type=cache,target=/", 'invalid mount target "/"'),
    ("target=/a,from=$x", "'from' doesn't support variable expansion, define alias stage instead"),
    ('"target=/a', "failed to parse csv mounts: unexpected end of data"),
])
def test_an_option_that_is_none_is_refused(text, message):
    with pytest.raises(InvalidArgument) as caught:
        mounts.parse(text)
    assert caught.value.message == message


def test_options_with_variables_are_left_out_until_there_are_some():
    text = "type=cache,target=$D,uid=$U"
    assert mounts.parse(text) == Mount("cache", read_only=False, text=text)
    values = {"$D": "/d", "$U": "7"}
    assert mounts.parse(text, lambda word: values.get(word, word)) == Mount(
        "cache", "/d", uid=7, read_only=False, text=text)
    with pytest.raises(InvalidArgument, match="invalid value x for uid"):
        mounts.parse(text, lambda word: {"$U": "x"}.get(word, word))


def test_the_type_may_be_a_variable():
    text = "type=$T,target=/a,mode=700"
    mounts.parse(text)
    assert mounts.parse(text, lambda word: {"$T": "cache"}.get(word, word)).type == "cache"
