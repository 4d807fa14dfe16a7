from exporter.clock import MICROS
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.answers import generation_body
from exporter.simulator.models import BY_SLUG
from exporter.simulator.served import ShownLog
from exporter.simulator.truth import credits_in_flight, in_flight, truth
from exporter.simulator.world import DAY_US, World

IMAGE = BY_SLUG["grok-imagine-image-quality"]
START = 1_778_416_496_900_000
LATER = START + DAY_US


def world(failure_ratio: float = 0.0) -> World:
    return World(1, [SimulatedAccount("studio", "key")], failure_ratio, pickup_us=0)


def test_a_completion_counts_its_credits_outputs_and_duration() -> None:
    simulated = world()
    fate = simulated.submit("studio", IMAGE, 3, START).fate
    true = truth(simulated, LATER)
    key = ("studio", IMAGE.slug)
    assert true.ended == {(*key, "completed"): 1}
    assert true.credits == {key: fate.credits_used}
    assert true.outputs == {key: 3}
    assert true.durations_us == {(*key, "completed"): (fate.rendering_us // 1_000 * 1_000,)}
    assert true.failures == {}


def test_a_failure_lasts_as_long_as_its_two_shown_times_say() -> None:
    simulated = world()
    simulated.add_ended("studio", IMAGE, "one", START, 200_000, START, reason="TIMEOUT")
    true = truth(simulated, LATER)
    assert true.failures == {("studio", IMAGE.slug, "TIMEOUT"): 1}
    assert true.durations_us == {("studio", IMAGE.slug, "failed"): (MICROS,)}
    assert (true.credits, true.outputs) == ({}, {})


def test_a_failure_whose_model_was_never_shown_is_of_an_unknown_model() -> None:
    simulated, shown = world(failure_ratio=1), ShownLog()
    first, second = (simulated.submit("studio", IMAGE, 1, START) for _ in range(2))
    seen = simulated.find(first.id, START)
    assert seen is not None
    shown.note(generation_body(seen, START), START, reader=0)
    assert truth(simulated, LATER, shown).ended == {
        ("studio", IMAGE.slug, "failed"): 1,
        ("studio", "unknown", "failed"): 1,
    }
    assert truth(simulated, LATER).ended == {("studio", IMAGE.slug, "failed"): 2}
    assert truth(simulated, LATER, ids={second.id}).ended == {("studio", IMAGE.slug, "failed"): 1}


def test_a_failure_whose_reader_may_have_died_before_it_knew_the_model_may_be_unnamed() -> None:
    simulated, shown = world(failure_ratio=1), ShownLog()
    open_one, sure_one = (simulated.submit("studio", IMAGE, 1, START) for _ in range(2))
    for submitted in (open_one, sure_one):
        seen = simulated.find(submitted.id, START)
        assert seen is not None
        shown.note(generation_body(seen, START), START, shown.ask(submitted.id))
    shown.ask(sure_one.id)
    unnamed = {open_one.id, sure_one.id}
    assert truth(simulated, LATER, shown, unnamed=unnamed).ended == {
        ("studio", "unknown", "failed"): 1,
        ("studio", IMAGE.slug, "failed"): 1,
    }


def test_a_failure_first_told_by_a_webhook_has_its_model_and_its_exact_duration() -> None:
    simulated = world()
    for name in ("polled", "delivered"):
        simulated.add_ended("studio", IMAGE, name, START, 200_999, START, reason="TIMEOUT")
    assert truth(simulated, LATER, ShownLog(), by_webhook={"delivered"}).durations_us == {
        ("studio", IMAGE.slug, "failed"): (200_000,),
        ("studio", "unknown", "failed"): (MICROS,),
    }


def test_queue_times_are_the_ages_that_were_shown_first() -> None:
    simulated, shown = world(), ShownLog()
    submitted = simulated.submit("studio", IMAGE, 1, START)
    for after_us in (1_500_000, 2_500_000):
        seen = simulated.find(submitted.id, START + after_us)
        assert seen is not None
        shown.note(generation_body(seen, START + after_us), START + after_us, reader=0)
    assert truth(simulated, LATER, shown).queue_us == {("studio", IMAGE.slug): (1_500_000,)}


def test_a_doubtful_queue_time_is_only_counted() -> None:
    simulated, shown = world(), ShownLog()
    shown.note_damaged(simulated.submit("studio", IMAGE, 1, START).id)
    true = truth(simulated, LATER, shown)
    assert (true.queue_us, true.doubtful_queues) == ({}, 1)


def test_what_was_beyond_the_retention_from_the_start_is_only_counted() -> None:
    simulated = world()
    simulated.add_ended("studio", IMAGE, "old", START - 40 * DAY_US, MICROS, START, credits_used=5)
    true = truth(simulated, LATER)
    assert (true.ended, true.expired) == ({}, {"studio": 1})


def test_in_flight_is_what_has_not_ended() -> None:
    simulated = world()
    fates = [simulated.submit("studio", IMAGE, 1, START).fate for _ in range(7)]
    assert truth(simulated, START).in_flight == 7
    now = simulated.in_flight(START)
    assert in_flight(now) == {
        ("studio", IMAGE.slug, "processing"): 5,
        ("studio", IMAGE.slug, "pending"): 2,
    }
    assert credits_in_flight(now) == {("studio", IMAGE.slug): sum(fate.credits_estimate for fate in fates)}
    assert simulated.in_flight(LATER) == []
