"""The rules about statuses, one sentence each, and what holds for every sequence of observations."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from exporter.domain import transition
from exporter.domain.values import (
    MAX_DURATION_US,
    AccountName,
    Drop,
    Dropped,
    DropReason,
    Ended,
    Generation,
    GenerationId,
    Observation,
    Phase,
    Source,
    Started,
    Status,
    Via,
)

S = 1_000_000
CREATED = 1_778_416_496 * S


def new() -> Generation:
    return Generation(AccountName("studio"), GenerationId("g"), Source.CONFIG, discovered_us=CREATED)


def look(
    at: float,
    status: Status | None,
    *,
    model: str | None = "m",
    created_us: int | None = CREATED,
    completed: float | None = None,
    elapsed: float | None = None,
    duration: float | None = None,
    via: Via = Via.POLL,
    text: str | None = None,
    credits_used_micro: int | None = None,
    outputs: int | None = None,
    reason: str | None = None,
    estimate_micro: int | None = None,
    asked_at: float = 0.0,
) -> Observation:
    """An observation `at` seconds after creation; `completed` likewise."""
    return Observation(
        at_us=CREATED + round(at * S),
        via=via,
        status=status,
        status_text=text or (status.value if status else "moderating"),
        model=model,
        created_us=created_us,
        completed_us=None if completed is None else CREATED + round(completed * S),
        elapsed_us=None if elapsed is None else round(elapsed * S),
        duration_us=None if duration is None else round(duration * S),
        credits_used_micro=credits_used_micro,
        credits_estimate_micro=estimate_micro,
        outputs=outputs,
        reason=reason,
        asked_at=asked_at,
    )


def failure(at: float, completed: float | None = None) -> Observation:
    """As the status endpoint says it: without model and duration."""
    return look(
        at,
        Status.FAILED,
        model=None,
        completed=completed or at,
        credits_used_micro=0,
        reason="PROVIDER_ERROR",
    )


def after(*observations: Observation) -> tuple[Generation, list[object]]:
    generation = new()
    facts: list[object] = []
    for observation in observations:
        step = transition.observe(generation, observation)
        generation = step.generation
        facts += step.facts
    return generation, facts


def end_of(facts: list[object]) -> Ended:
    [ended] = [fact for fact in facts if isinstance(fact, Ended)]
    return ended


def test_a_failure_keeps_the_model_seen_while_it_ran() -> None:
    _, facts = after(look(2, Status.PROCESSING, model="grok"), failure(5))
    assert end_of(facts).model == "grok"


def test_a_failure_costs_nothing_whatever_it_was_charged() -> None:
    for via in Via:
        charged = replace(failure(5), credits_used_micro=12 * S, via=via)
        _, facts = after(charged)
        assert end_of(facts).end.credits_used_micro == 0
        assert end_of(facts).refunded_micro == 12 * S


def test_a_completed_one_is_not_refunded() -> None:
    _, facts = after(look(20, Status.COMPLETED, credits_used_micro=211 * S))
    assert (end_of(facts).end.credits_used_micro, end_of(facts).refunded_micro) == (211 * S, 0)


def test_timestamps_further_apart_than_any_duration_give_none() -> None:
    _, facts = after(failure(MAX_DURATION_US / S + 1))
    assert end_of(facts).end.duration_us is None
    generation, facts = after(look(MAX_DURATION_US / S + 1, Status.PROCESSING))
    assert (generation.status, facts) == (Status.PROCESSING, [])


def test_a_failure_never_seen_before_has_an_unknown_model() -> None:
    _, facts = after(failure(5))
    assert end_of(facts).model == "unknown"


def test_a_failure_lasts_from_its_creation_to_its_end() -> None:
    _, facts = after(failure(9, completed=5))
    assert end_of(facts).end.duration_us == 5 * S


def test_a_completed_one_lasts_what_the_api_says_not_what_the_whole_seconds_say() -> None:
    _, facts = after(look(20, Status.COMPLETED, completed=12, duration=12.42))
    assert end_of(facts).end.duration_us == 12_420_000


def test_a_completed_one_without_a_duration_falls_back_to_its_timestamps() -> None:
    _, facts = after(look(20, Status.COMPLETED, completed=12))
    assert end_of(facts).end.duration_us == 12 * S


def test_an_end_seen_without_any_earlier_look_counts_in_full() -> None:
    generation, facts = after(
        look(20, Status.COMPLETED, completed=12, duration=12.42, credits_used_micro=211 * S, outputs=4)
    )
    end = end_of(facts).end
    assert (end.credits_used_micro, end.outputs, end.status) == (211 * S, 4, Status.COMPLETED)
    assert not generation.followed
    assert len(facts) == 1


def test_a_repeat_of_an_end_changes_nothing() -> None:
    end = look(20, Status.COMPLETED, completed=12, duration=12.42, credits_used_micro=211 * S)
    generation, _ = after(end)
    again = transition.observe(generation, replace(end, at_us=end.at_us + S, credits_used_micro=999 * S))
    assert again.generation == generation
    assert again.facts == ()


def test_an_end_is_not_undone_by_a_later_look() -> None:
    generation, facts = after(failure(5), look(9, Status.PROCESSING), look(10, Status.COMPLETED, duration=9))
    assert generation.status is Status.FAILED
    assert len(facts) == 1


def test_an_undocumented_status_keeps_what_was_known_and_stays_in_flight() -> None:
    generation, facts = after(look(1, Status.PENDING), look(3, None, text="moderating"))
    assert generation.status is Status.PENDING
    assert generation.followed
    assert facts == []


def test_an_undocumented_status_at_the_first_look_counts_as_pending() -> None:
    generation, facts = after(look(1, None, text="moderating"))
    assert generation.status is Status.PENDING
    assert facts == []


def test_the_queue_ends_where_processing_was_first_seen() -> None:
    generation, facts = after(
        look(1, Status.PENDING, elapsed=1),
        look(4, Status.PROCESSING, elapsed=4.2),
        look(6, Status.PROCESSING, elapsed=6),
    )
    assert facts == [Started("m", 4_200_000)]
    assert generation.processing_us == CREATED + 4_200_000
    assert generation.processing_uncertainty_us == 3_200_000


def test_the_age_is_taken_from_the_timestamps_where_the_api_does_not_say_it() -> None:
    _, facts = after(look(4, Status.PROCESSING))
    assert facts == [Started("m", 4 * S)]


def test_a_start_of_unknown_age_waits_for_a_look_that_tells() -> None:
    generation, facts = after(look(4, Status.PROCESSING, created_us=None))
    assert facts == []
    step = transition.observe(generation, look(6, Status.PROCESSING, elapsed=6))
    assert step.facts == (Started("m", 6 * S),)


def test_back_to_pending_is_believed_but_the_queue_is_not_counted_twice() -> None:
    generation, facts = after(look(2, Status.PROCESSING), look(4, Status.PENDING), look(6, Status.PROCESSING))
    assert generation.status is Status.PROCESSING
    assert facts == [Started("m", 2 * S)]


def test_an_answer_to_an_earlier_poll_does_not_undo_a_newer_one() -> None:
    generation, _ = after(look(3, Status.PROCESSING, asked_at=2), look(5, Status.PENDING, asked_at=1))
    assert generation.status is Status.PROCESSING
    assert generation.polls == 1


def test_an_end_counts_however_early_it_was_asked_for() -> None:
    generation, _ = after(look(3, Status.PROCESSING, asked_at=2), look(5, Status.FAILED, asked_at=1))
    assert generation.status is Status.FAILED


def test_a_wall_clock_that_was_set_back_makes_no_answer_stale() -> None:
    generation, _ = after(look(9_000, Status.PENDING, asked_at=1), look(5, Status.PROCESSING, asked_at=2))
    assert generation.status is Status.PROCESSING
    assert generation.observed_us == CREATED + 5 * S


def test_what_another_process_stored_is_older_than_any_answer() -> None:
    stored = replace(after(look(9, Status.PENDING, asked_at=1e9))[0], asked_at=new().asked_at)
    assert transition.observe(stored, look(5, Status.PROCESSING)).generation.status is Status.PROCESSING


def test_memory_and_store_together_know_the_last_poll() -> None:
    stored, _ = after(look(2, Status.PENDING, elapsed=2, asked_at=2))
    known, _ = after(
        look(2, Status.PENDING, elapsed=2, asked_at=2), look(-50, Status.PENDING, elapsed=4, asked_at=4)
    )
    for joined in (transition.with_polls_of(stored, known), transition.with_polls_of(known, stored)):
        assert (joined.polls, joined.observed_us, joined.asked_at) == (2, CREATED - 50 * S, 4)
        assert joined.pending_us == CREATED + 4 * S


def test_time_going_backwards_never_gives_a_negative_duration() -> None:
    _, facts = after(failure(5, completed=-3))
    assert end_of(facts).end.duration_us == 0


def test_an_end_that_only_a_webhook_brought_was_created_its_duration_before_its_completion() -> None:
    webhook = look(13, Status.COMPLETED, created_us=None, completed=12.42, duration=12.42, via=Via.WEBHOOK)
    generation, _ = after(webhook)
    assert generation.created_us == CREATED


def test_an_end_without_a_time_is_when_it_was_created_plus_what_it_took() -> None:
    _, facts = after(look(20, Status.COMPLETED, duration=12.42))
    assert end_of(facts).end.at_us == CREATED + 12_420_000


def test_an_end_that_tells_no_time_at_all_is_counted_without_a_duration() -> None:
    _, facts = after(look(20, Status.COMPLETED, created_us=None))
    assert end_of(facts).end.duration_us is None
    assert end_of(facts).end.at_us == CREATED + 20 * S


def test_a_failure_without_a_reason_has_an_unknown_one() -> None:
    _, facts = after(replace(failure(5), reason=None))
    assert end_of(facts).end.reason == "unknown"


def test_a_drop_happens_once() -> None:
    first = transition.drop(new(), DropReason.GAVE_UP, CREATED)
    second = transition.drop(first.generation, DropReason.NOT_FOUND, CREATED)
    assert first.facts == (Dropped(DropReason.GAVE_UP),)
    assert second.facts == ()


def test_a_reopened_one_is_followed_again_and_its_end_counts() -> None:
    seen, _ = after(look(2, Status.PENDING))
    dropped = transition.drop(seen, DropReason.GAVE_UP, CREATED + 9 * S).generation
    reopened = transition.reopen(dropped, CREATED + 20 * S)
    assert reopened.facts == ()
    assert reopened.generation.followed
    assert reopened.generation.phase is Phase.PENDING
    assert (reopened.generation.discovered_us, reopened.generation.followed_since_us) == (
        CREATED,
        CREATED + 20 * S,
    )
    assert end_of(list(transition.observe(reopened.generation, failure(30)).facts)).model == "m"


def test_a_drop_after_a_reopening_is_not_counted_again() -> None:
    dropped = transition.drop(new(), DropReason.NOT_FOUND, CREATED).generation
    reopened = transition.reopen(dropped, CREATED + S).generation
    again = transition.drop(reopened, DropReason.GAVE_UP, CREATED + 2 * S)
    assert again.facts == ()
    assert again.generation.drop == Drop(DropReason.GAVE_UP, CREATED + 2 * S)


def test_only_a_dropped_one_can_be_reopened() -> None:
    ended, _ = after(failure(5))
    ended_after_drop = transition.observe(
        transition.drop(new(), DropReason.NOT_FOUND, CREATED).generation, failure(5)
    ).generation
    for generation in (new(), ended, ended_after_drop):
        assert transition.reopen(generation, CREATED + 9 * S).generation == generation


def test_an_end_reported_after_the_drop_still_counts() -> None:
    dropped = transition.drop(new(), DropReason.NOT_FOUND, CREATED).generation
    assert transition.observe(dropped, look(9, Status.PROCESSING)).generation == dropped
    assert end_of(list(transition.observe(dropped, failure(9)).facts)).end.status is Status.FAILED


def test_an_ended_generation_cannot_be_dropped() -> None:
    generation, _ = after(failure(5))
    assert transition.drop(generation, DropReason.GAVE_UP, CREATED).facts == ()


def test_another_look_that_says_the_same_is_not_worth_a_write() -> None:
    first, _ = after(look(2, Status.PENDING, elapsed=2))
    second = transition.observe(first, look(4, Status.PENDING, elapsed=4)).generation
    assert second.polls == 2
    assert not transition.is_material(first, second)
    assert transition.is_material(new(), first)


times = st.one_of(st.none(), st.floats(-100, 1e5))
observations = st.builds(
    look,
    at=st.floats(-100, 1e5),
    status=st.one_of(st.none(), st.sampled_from(Status)),
    model=st.one_of(st.none(), st.sampled_from(["a", "b"])),
    created_us=st.one_of(st.none(), st.integers(CREATED - 100 * S, CREATED + 100 * S)),
    completed=times,
    elapsed=st.one_of(st.none(), st.floats(0, 1e5)),
    duration=st.one_of(st.none(), st.floats(0, 1e5)),
    via=st.sampled_from(Via),
    credits_used_micro=st.one_of(st.none(), st.integers(0, 10**9)),
    outputs=st.one_of(st.none(), st.integers(0, 9)),
    reason=st.one_of(st.none(), st.just("PROVIDER_ERROR")),
    asked_at=st.floats(-100, 100),
)


@given(st.lists(st.one_of(observations, st.sampled_from(DropReason), st.just(None)), max_size=20))
def test_any_sequence_ends_and_drops_at_most_once_and_never_unends(
    steps: list[Observation | DropReason | None],
) -> None:
    """None is a registration."""
    generation = new()
    facts: list[object] = []
    ended: Generation | None = None
    for step in steps:
        if isinstance(step, DropReason):
            result = transition.drop(generation, step, CREATED)
        elif step is None:
            result = transition.reopen(generation, CREATED)
            assert result.generation.followed or result.generation.end is not None
        else:
            result = transition.observe(generation, step)
        generation = result.generation
        facts += result.facts
        if ended is not None:
            assert generation == ended
        if generation.end is not None:
            ended = generation
    kinds = [type(fact) for fact in facts]
    assert kinds.count(Ended) <= 1
    assert kinds.count(Started) <= 1
    assert kinds.count(Dropped) <= 1
    reported = [s for s in steps if isinstance(s, Observation) and s.status is not None and s.status.ended]
    assert (ended is not None) == bool(reported)


@given(st.lists(observations, max_size=20))
def test_no_amount_that_enters_a_sum_is_negative(steps: list[Observation]) -> None:
    _, facts = after(*steps)
    for fact in facts:
        if isinstance(fact, Started):
            assert fact.queue_us >= 0
        if isinstance(fact, Ended):
            assert fact.end.duration_us is None or fact.end.duration_us >= 0
            assert fact.end.credits_used_micro >= 0


@given(st.lists(observations, max_size=10), observations)
def test_repeating_every_observation_changes_no_fact(steps: list[Observation], last: Observation) -> None:
    _, once = after(*steps, last)
    _, twice = after(*(step for step in [*steps, last] for _ in range(2)))
    assert twice == once
