"""The safety net polls in vain only so often, whatever it is asked to do."""

from hypothesis import given
from hypothesis import strategies as st

from exporter.polling.net import AT_MOST, EARNED, EVERY, NetAllowance

STEPS = st.lists(st.tuples(st.sampled_from(["first poll", "poll", "poll, and found"]), st.floats(0, 30)))


@given(STEPS)
def test_polls_in_vain_are_bounded_by_first_polls_and_time(steps: list[tuple[str, float]]) -> None:
    net, now, first, in_vain = NetAllowance(), 0.0, 0, 0
    for what, wait in steps:
        now += wait
        if what == "first poll":
            net.earn()
            first += 1
        elif net.possible_at <= now:
            net.spend(now)
            if what == "poll":
                in_vain += 1
            else:
                net.refund()
        assert in_vain <= AT_MOST + EARNED * first + now / EVERY + 1e-6


def test_polls_that_find_ends_are_free() -> None:
    net = NetAllowance()
    for _ in range(1_000):
        assert net.possible_at <= 0.0
        net.spend(0.0)
        net.refund()


def test_an_allowance_that_is_spent_grows_with_time_and_with_generations() -> None:
    net = NetAllowance()
    for _ in range(int(AT_MOST)):
        net.spend(10.0)
    assert net.possible_at == 10.0 + EVERY
    for _ in range(round(1 / EARNED) + 1):
        net.earn()
    assert net.possible_at <= 10.0


def test_no_more_is_saved_up_than_the_most() -> None:
    net, now = NetAllowance(), 1_000_000 * EVERY
    net.spend(0.0)
    for _ in range(1_000):
        net.earn()
    polls = 0
    while net.possible_at <= now:
        net.spend(now)
        polls += 1
    assert polls == AT_MOST
