import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest

from exporter.clock import MICROS
from exporter.simulator.accounts import SimulatedAccount
from exporter.simulator.answers import delivery_body
from exporter.simulator.deliveries import MISHAPS, Delays, Delivery, Forgery, Kind, Mishaps
from exporter.simulator.generation import Generation
from exporter.simulator.models import BY_SLUG
from exporter.simulator.webhooks import signature
from exporter.simulator.world import DAY_US, World

IMAGE = BY_SLUG["grok-imagine-image-quality"]
START = 1_778_416_496_000_000
SECRET = "whsec"


def ended(count: int, failure_ratio: float = 0.3) -> list[Generation]:
    world = World(1, [SimulatedAccount("studio", "key", "ultimate")], failure_ratio)
    for _ in range(count):
        world.submit("studio", IMAGE, 1, START)
    world.advance(START + DAY_US)
    return world.ended(0)


ENDED = ended(1_000)


def planned(mishaps: Mishaps, kind: Kind | None = None) -> Iterator[tuple[Generation, Delivery]]:
    for generation in ENDED:
        for delivery in mishaps.plan(generation):
            if kind is None or delivery.kind is kind:
                yield generation, delivery


def after_s(generation: Generation, delivery: Delivery) -> float:
    return (delivery.due_us - (generation.ended_us or 0)) / MICROS


def test_when_nothing_goes_wrong_each_end_is_told_once_and_soon() -> None:
    deliveries = list(planned(Mishaps.none()))
    assert [one.generation_id for _, one in deliveries] == [generation.id for generation in ENDED]
    for generation, delivery in deliveries:
        assert delivery.kind is Kind.GENUINE
        assert delivery.event == f"generation.{generation.status.value}"
        assert json.loads(delivery.body) == delivery_body(generation)
        assert delivery.signature(SECRET) == signature(SECRET, delivery.body)
        assert 0.02 <= after_s(generation, delivery) <= 0.2


def test_what_has_not_ended_is_not_delivered() -> None:
    with pytest.raises(ValueError, match="has not ended"):
        Mishaps.none().plan(replace(ENDED[0], ended_us=None))


def test_the_fate_of_a_delivery_depends_on_the_seed_and_the_id_alone() -> None:
    one, same, other = Mishaps.everything(3), Mishaps.everything(3), Mishaps.everything(4)
    expected = [one.plan(generation) for generation in ENDED]
    assert [same.plan(generation) for generation in reversed(ENDED)] == expected[::-1]
    assert [other.plan(generation) for generation in ENDED] != expected
    later = replace(ENDED[0], ended_us=(ENDED[0].ended_us or 0) + DAY_US)
    moved = [(delivery.kind, delivery.due_us - DAY_US) for delivery in one.plan(later)]
    assert moved == [(delivery.kind, delivery.due_us) for delivery in expected[0]]


def test_one_rate_does_not_change_what_another_draws() -> None:
    doubled = {generation.id for generation, _ in planned(Mishaps(3, {Kind.DOUBLED: 0.2}), Kind.DOUBLED)}
    both = Mishaps(3, {Kind.DOUBLED: 0.2, Kind.FORGED: 0.5, Kind.LATE: 0.1})
    assert {generation.id for generation, _ in planned(both, Kind.DOUBLED)} == doubled


def test_mishaps_happen_as_often_as_their_rates_say() -> None:
    mishaps = Mishaps.everything(5)
    counts = Counter(delivery.kind for _, delivery in planned(mishaps))
    assert counts.keys() == set(Kind)
    for kind, rate in mishaps.rates.items():
        assert counts[kind] == pytest.approx(rate * len(ENDED), abs=30)
    assert counts[Kind.GENUINE] == len(ENDED) - sum(
        counts[kind] for kind in (Kind.LOST, Kind.LATE, Kind.OVERTAKEN)
    )


@pytest.mark.parametrize(("kind", "bounds"), [(Kind.LATE, (3_600.0, 7_200.0)), (Kind.OVERTAKEN, (2.0, 4.0))])
def test_one_that_is_delayed_comes_in_its_span_instead(kind: Kind, bounds: tuple[float, float]) -> None:
    delays = Delays(late_s=(3_600.0, 7_199.0), overtaken_s=(2.0, 3.0))
    deliveries = list(planned(Mishaps(1, {kind: 1.0}, delays)))
    assert [delivery.kind for _, delivery in deliveries] == [kind] * len(ENDED)
    assert all(bounds[0] < after_s(*one) <= bounds[1] for one in deliveries)


def test_a_doubled_one_is_the_first_once_more() -> None:
    apart = []
    for generation in ENDED:
        first, again = Mishaps(1, {Kind.DOUBLED: 1.0}).plan(generation)
        assert again == replace(first, kind=Kind.DOUBLED, due_us=again.due_us)
        apart.append(again.due_us - first.due_us)
    assert 400 < sum(one == 0 for one in apart) < 600
    assert 0 <= min(apart) < max(apart) <= 5 * MICROS


def test_a_lost_one_is_not_doubled() -> None:
    kinds = [delivery.kind for _, delivery in planned(Mishaps(1, {Kind.LOST: 1.0, Kind.DOUBLED: 1.0}))]
    assert kinds == [Kind.LOST] * len(ENDED)


def test_no_forged_one_is_rightly_signed_and_each_would_show_in_the_sums() -> None:
    ids, ways = Counter[bool](), Counter[Forgery | None]()
    for generation, delivery in planned(Mishaps(1, {Kind.FORGED: 1.0}), Kind.FORGED):
        assert delivery.signature(SECRET) != signature(SECRET, delivery.body)
        body, genuine = json.loads(delivery.body), delivery_body(generation)
        assert body["credits_charged"] != genuine["credits_charged"]
        ids[body["generation_id"] == generation.id] += 1
        ways[delivery.forgery] += 1
        if delivery.forgery is Forgery.OTHER_BODY:
            right = Mishaps.none().plan(generation)[0]
            assert delivery.signature(SECRET) == right.signature(SECRET)
    assert ids.keys() == {True, False}
    assert ways.keys() == set(Forgery)


def test_an_unknown_event_is_rightly_signed_and_tells_no_end() -> None:
    for _, delivery in planned(Mishaps(1, {Kind.UNKNOWN_EVENT: 1.0}), Kind.UNKNOWN_EVENT):
        assert delivery.signature(SECRET) == signature(SECRET, delivery.body)
        assert delivery.event not in ("generation.completed", "generation.failed")
        assert not delivery.kind.reports_end


def test_whom_mishaps_do_not_befall_is_told_once_and_on_time_but_not_spared_by_forgers() -> None:
    chosen = {generation.id for generation in ENDED[::2]}
    rates = {Kind.LOST: 0.5, Kind.LATE: 0.5, Kind.DOUBLED: 1.0, Kind.FORGED: 1.0}
    mishaps, free = Mishaps(1, rates, befalls=chosen.__contains__), Mishaps(1, rates)
    for generation in ENDED:
        if generation.id in chosen:
            assert mishaps.plan(generation) == free.plan(generation)
        else:
            assert [one.kind for one in mishaps.plan(generation)] == [Kind.GENUINE, Kind.FORGED]


@pytest.mark.parametrize(
    ("rates", "why"),
    [
        ({Kind.LOST: 1.5}, "not a probability"),
        ({Kind.LOST: float("nan")}, "not a probability"),
        ({Kind.LOST: 0.6, Kind.LATE: 0.6}, "more than 1"),
        ({Kind.GENUINE: 1.0}, "no rate of its own"),
    ],
)
def test_rates_must_make_sense(rates: Mapping[Kind, float], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Mishaps(0, rates)


def test_everything_includes_every_mishap() -> None:
    assert Mishaps.everything(1).rates.keys() == set(MISHAPS)
