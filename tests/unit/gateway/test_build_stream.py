"""A build's messages in the words of the classic builder, however its stages are interleaved."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.rest.build_stream import ClassicStream, failed, finished, quiet
from pier.build.v1 import build_pb2 as pb
from pier.image.v1 import image_pb2


def plan(count, per_stage=2):
    return pb.BuildResponse(plan=pb.Plan(steps=[
        pb.Step(id=n, stage=str((n - 1) // per_stage), number=(n - 1) % per_stage + 1, count=per_stage,
                instruction=f"STEP {n}") for n in range(1, count + 1)]))


def begin(n, container=""):
    return pb.BuildResponse(begin=pb.StepBegin(id=n, container_id=container))


def log(n, data, stream=1):
    return pb.BuildResponse(log=pb.StepLog(id=n, stream=stream, data=data))


def end(n, **facts):
    return pb.BuildResponse(end=pb.StepEnd(id=n, cache_key=f"{n:064x}", **facts))


def said(*messages):
    shown = ClassicStream()
    return "".join(each.get("stream", "") for message in messages for each in shown.of(message))


def test_a_step_is_told_as_the_classic_builder_tells_it():
    text = said(plan(2), begin(1), end(1, image_id="sha256:" + "ab" * 32, cached=True), begin(2), begin(2, "c" * 64),
                log(2, b"out\n"), log(2, b"err", 2), end(2))
    assert text == (
        "Step 1/2 : STEP 1\n ---> abababababab\nStep 2/2 : STEP 2\n ---> Running in cccccccccccc\nout\n"
        "\x1b[91merr\x1b[0m ---> Removed intermediate container cccccccccccc\n ---> 000000000000\n")


def test_what_was_found_is_told_as_cached():
    assert " ---> Using cache\n" in said(plan(2), begin(1), end(1), begin(2), end(2, cached=True))


def test_a_warning_about_the_request_stands_as_docker_has_it():
    assert said(pb.BuildResponse(warning=pb.Warning(message="odd"))) == "[Warning] odd\n"
    assert said(pb.BuildResponse(warning=pb.Warning(rule="R", message="odd", first_line=3))) == (
        " ---> [Warning] R: odd (line 3)\n")


def test_a_character_that_comes_in_two_pieces_is_one():
    assert "é" in said(plan(1), begin(1), log(1, "é".encode()[:1]), log(1, "é".encode()[1:]))


@given(st.permutations([1, 2]), st.lists(st.sampled_from([1, 3]), max_size=20))
def test_steps_of_several_stages_are_told_one_after_the_other(order, turns):
    """Stages 0 (steps 1, 2) and 1 (steps 3, 4) at the same time: what is said stands under its own step."""
    messages = [plan(4)] + [begin({1: 1, 2: 3}[each]) for each in order]
    messages += [log(step, f"{step}-{number}\n".encode()) for number, step in enumerate(turns)]
    messages += [end(3), begin(4), end(4), end(1), begin(2), end(2)]
    text = said(*messages)
    heads = [text.index(f"Step {n}/4 :") for n in (1, 2, 3, 4)]
    assert heads == sorted(heads)
    for number, step in enumerate(turns):
        at = text.index(f"{step}-{number}\n")
        assert heads[step - 1] < at < (heads[step] if step < 4 else len(text))


def test_a_stage_that_says_very_much_is_not_held_back_for_ever():
    text = said(plan(4), begin(1), begin(3), log(3, b"x" * (1 << 21)))
    assert "Step 3/4 :" in text
    assert text.count("x") == 1 << 21


def test_more_steps_of_a_base_image_are_counted():
    more = plan(3, 3)
    more.plan.steps[1].id, more.plan.steps[2].id = 9, 2
    text = said(plan(2), begin(1), more, end(1), begin(9), end(9), begin(2), end(2))
    assert "Step 2/3 : STEP 2" in text
    assert "Step 3/3 : STEP 2" in text


def test_how_a_build_ends():
    result = pb.BuildEnd(image=image_pb2.Image(id="sha256:" + "ab" * 32))
    assert finished(result, ["a:1"])[-1] == {"stream": "Successfully tagged a:1\n"}
    assert finished(result, [])[0] == {"aux": {"ID": "sha256:" + "ab" * 32}}
    assert quiet(result) == [{"stream": "sha256:" + "ab" * 32 + "\n"}]
    assert failed("no", 7) == {"errorDetail": {"code": 7, "message": "no"}, "error": "no"}
    assert failed("no", 0) == {"errorDetail": {"message": "no"}, "error": "no"}
