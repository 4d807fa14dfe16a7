"""What is in flight is summed up as it changes: the sums are those of what is there."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from exporter.domain.values import AccountName, Generation, GenerationId, Source, Status
from exporter.polling.followed import Followed
from exporter.polling.in_flight import InFlight

STUDIO = AccountName("studio")
NOW = 1_000.0


def followed(order: int) -> Followed:
    generation = Generation(STUDIO, GenerationId(f"g{order}"), Source.API, 0)
    return Followed(generation, order, NOW, NOW)


def summed_up(all_of_them: list[Followed]) -> dict[tuple[str, Status], tuple[int, int, float]]:
    sums: dict[tuple[str, Status], tuple[int, int, float]] = {}
    for one in all_of_them:
        status = one.generation.status
        if status is not None:
            kind = (one.generation.model or "unknown", status)
            count, credits, oldest = sums.get(kind, (0, 0, 0.0))
            credits += one.generation.credits_estimate_micro or 0
            sums[kind] = count + 1, credits, max(oldest, one.age(NOW))
    return sums


answers = st.tuples(
    st.integers(0, 5),
    st.sampled_from([None, Status.PENDING, Status.PROCESSING]),
    st.sampled_from([None, "m", "n"]),
    st.sampled_from([None, 0, 7]),
    st.integers(0, 9),
)


@given(st.lists(answers, max_size=80))
def test_sums_are_those_of_what_is_there(
    said: list[tuple[int, Status | None, str | None, int | None, int]],
) -> None:
    them = [followed(order) for order in range(6)]
    in_flight = InFlight()
    for place, status, model, credits, age in said:
        one = them[place]
        in_flight.remove(one)
        one.generation = replace(one.generation, status=status, model=model, credits_estimate_micro=credits)
        one.born = NOW - age
        in_flight.add(one)
        found = {group.kind: (group.count, group.credits_micro, group.oldest(NOW)) for group in in_flight}
        assert found == summed_up(them)
        assert len(in_flight) == sum(count for count, _, _ in found.values())
    for one in them:
        in_flight.remove(one)
        in_flight.remove(one)
    assert list(in_flight) == []


def test_answers_about_one_generation_do_not_pile_up() -> None:
    in_flight, one = InFlight(), followed(1)
    one.generation = replace(one.generation, status=Status.PENDING)
    in_flight.add(one)
    for age in range(1_000):
        in_flight.remove(one)
        one.born = NOW - age
        in_flight.add(one)
    other = followed(2)
    other.generation = replace(one.generation, id=other.generation.id)
    in_flight.add(other)
    [group] = in_flight
    assert len(group._by_birth) < 30
    assert group.oldest(NOW) == 999.0
