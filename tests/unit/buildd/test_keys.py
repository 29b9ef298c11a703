"""Cache keys: whatever a step is made of counts, and a miss says which of it changed."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from buildd.keys import key_of, why
from buildd.records import Inputs, Record

WORDS = st.text(max_size=6)
MAPS = st.dictionaries(WORDS, WORDS, max_size=3)
INPUTS = st.builds(Inputs, ground=WORDS, instruction=WORDS, arguments=MAPS, files=MAPS, settings=MAPS)
STEP = Inputs("below", "RUN make", {"A": "1"}, {"src": "d1"}, {"user": ""})


def record(inputs):
    return Record(key=key_of(inputs), type="regular", parent=inputs.ground, place="p", snapshot="s", inputs=inputs,
                  created_ns=1)


@given(INPUTS, INPUTS)
def test_two_steps_have_one_key_only_where_all_of_their_inputs_are_the_same(one, other):
    assert (key_of(one) == key_of(other)) == (one == other)


@given(INPUTS)
def test_a_key_is_a_word_that_imaged_takes_and_does_not_depend_on_the_order_of_names(inputs):
    turned = msgspec.structs.replace(inputs, arguments=dict(reversed(inputs.arguments.items())))
    assert key_of(turned) == key_of(inputs)
    assert len(key_of(inputs)) == 64
    assert set(key_of(inputs)) <= set("0123456789abcdef")


def test_a_miss_names_what_changed():
    changed = msgspec.structs.replace
    assert why(STEP, None) == "first build"
    assert why(changed(STEP, instruction="RUN true"), record(STEP)) == "instruction changed"
    assert why(changed(STEP, ground="other"), record(STEP)) == "what it stands on changed"
    assert why(changed(STEP, arguments={"A": "2"}), record(STEP)) == "argument A changed"
    assert why(changed(STEP, arguments={"A": "1", "B": ""}), record(STEP)) == "argument B changed"
    assert why(changed(STEP, files={"src": "d2"}), record(STEP)) == "files of src changed"
    assert why(changed(STEP, settings={"user": "1"}), record(STEP)) == "user changed"
    assert why(STEP, record(STEP)) == "its record was removed"
