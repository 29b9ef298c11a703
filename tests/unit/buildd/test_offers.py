"""What an image that is named as a cache offers: the next layer, to a stage that has come to the same alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildd import offers
from buildd.build import CacheImage
from buildd.config import Step
from buildd.dockerfile.parser import parse
from buildd.snapshots import SCRATCH, Ground

HISTORY = (Step(created_by="base"), Step(created_by="ENV A=1", empty_layer=True),
           Step(created_by="RUN one", created="2020-09-13T12:26:40Z"), Step(created_by="RUN nothing", empty_layer=True),
           Step(created_by="RUN two"))
IMAGE = CacheImage(("c0", "c1", "c2"), HISTORY)


def offer(place, created_by, chain, image=IMAGE):
    return offers.offer([image], Ground("k", "s", chain), HISTORY[:place], created_by)


def test_the_next_layer_is_offered_with_its_time():
    found = offer(2, "RUN one", "c0")
    assert found == offers.Offer("c1", "c1", 1600000000 * 10**9)
    assert offer(4, "RUN two", "c1") == offers.Offer("c2", "c2", 0)


def test_a_step_that_changed_nothing_offers_what_it_stands_on():
    assert offer(3, "RUN nothing", "c1") == offers.Offer("c1", "", 0)


@given(
    st.integers(0, 4), st.sampled_from(["RUN one", "RUN two", "RUN nothing", "x"]), st.sampled_from(["", "c0", "c1"]))
def test_nothing_is_offered_to_what_differs_in_any_way(place, created_by, chain):
    right = {(2, "RUN one", "c0"), (3, "RUN nothing", "c1"), (4, "RUN two", "c1")}
    assert (offer(place, created_by, chain) is not None) == ((place, created_by, chain) in right)


def test_another_history_before_it_is_another_stage():
    before = [Step(created_by="base"), Step(created_by="ENV A=2", empty_layer=True)]
    assert offers.offer([IMAGE], Ground("k", "s", "c0"), before, "RUN one") is None


def test_a_history_that_tells_of_more_layers_than_there_are_offers_none():
    assert offer(2, "RUN one", "c0", CacheImage(("c0",), HISTORY)) is None
    assert offers.offer([CacheImage((), HISTORY)], SCRATCH, [], "base") is None


@pytest.mark.parametrize(("line", "whole"), [
    ("RUN true", True), ("RUN --mount=type=tmpfs,target=/x true", False), ("COPY a b", True), ("WORKDIR /x", True),
    ("COPY --chmod=755 a b", False), ("COPY --exclude=x a b", False), ("COPY --link a b", False), ("ENV a=b", False),
])
def test_a_step_whose_words_do_not_say_all_is_never_taken(line, whole):
    (stage,) = parse(f"FROM x\n{line}\n".encode()).stages
    assert offers.is_whole(stage.steps[0]) is whole
