from collections import Counter

import pytest

from exporter.clock import MICROS
from exporter.simulator.faults import Extent, Fault, Faults


def struck(faults: Faults, account: str = "studio", now_us: int = 0) -> Fault | None:
    strike = faults.strike(account, now_us)
    return None if strike is None else strike.fault


def test_without_faults_nothing_strikes() -> None:
    faults = Faults.none()
    assert all(struck(faults) is None for _ in range(100))
    assert not faults.hides("studio", "one", 0, 0)


def test_the_same_seed_strikes_the_same_way() -> None:
    def sequence(seed: int) -> list[Fault | None]:
        faults = Faults.everything(seed)
        return [struck(faults, now_us=read * MICROS) for read in range(500)]

    assert sequence(1) == sequence(1)
    assert sequence(1) != sequence(2)


def test_accounts_do_not_disturb_one_another() -> None:
    alone, together = Faults.everything(1), Faults.everything(1)
    expected = [struck(alone, "studio", read * MICROS) for read in range(200)]
    met = []
    for read in range(200):
        struck(together, "atelier", read * MICROS)
        met.append(struck(together, "studio", read * MICROS))
    assert met == expected


def test_faults_strike_as_often_as_their_rates_say() -> None:
    faults = Faults(3, {Fault.RESET: 0.2, Fault.HANG: 0.1})
    counts = Counter(struck(faults) for _ in range(5_000))
    assert counts[Fault.RESET] == pytest.approx(1_000, rel=0.15)
    assert counts[Fault.HANG] == pytest.approx(500, rel=0.2)
    assert faults.struck["studio", Fault.RESET] == counts[Fault.RESET]


def test_everything_includes_everything() -> None:
    assert Faults.everything(1).rates.keys() == set(Fault)


@pytest.mark.parametrize("rates", [{Fault.RESET: 1.5}, {Fault.RESET: -0.1}, {Fault.RESET: float("nan")}])
def test_a_rate_must_be_a_probability(rates: dict[Fault, float]) -> None:
    with pytest.raises(ValueError, match="not a probability"):
        Faults(0, rates)


def test_rates_together_must_not_exceed_certainty() -> None:
    with pytest.raises(ValueError, match="more than 1"):
        Faults(0, {Fault.RESET: 0.6, Fault.HANG: 0.6})


def test_a_spell_holds_for_every_read_of_its_account_and_then_ends() -> None:
    faults = Faults(0, {Fault.KEY_INVALID: 1.0}, Extent(key_invalid_s=(10, 10)))
    assert struck(faults, now_us=0) is Fault.KEY_INVALID
    faults.set_rates({})
    strike = faults.strike("studio", 4 * MICROS)
    assert strike is not None
    assert (strike.fault, strike.seconds) == (Fault.KEY_INVALID, 6.0)
    assert struck(faults, "atelier", 4 * MICROS) is None
    assert struck(faults, now_us=10 * MICROS) is None


def test_what_is_due_strikes_next_and_only_as_often() -> None:
    faults = Faults.none()
    faults.strike_next(Fault.RESET, times=2, account="studio")
    assert struck(faults, "atelier") is None
    assert [struck(faults) for _ in range(3)] == [Fault.RESET, Fault.RESET, None]


def test_a_scheduled_fault_strikes_within_its_span() -> None:
    faults = Faults.none()
    faults.schedule(Fault.SERVER_ERROR, 10, 20)
    assert [struck(faults, now_us=now_us) for now_us in (9, 10, 19, 20)] == [
        None,
        Fault.SERVER_ERROR,
        Fault.SERVER_ERROR,
        None,
    ]


def test_a_spell_goes_before_another_span() -> None:
    faults = Faults.none()
    faults.schedule(Fault.LATENCY, 0, 20)
    faults.schedule(Fault.KEY_INVALID, 10, 20)
    assert [struck(faults, now_us=now_us) for now_us in (5, 15)] == [Fault.LATENCY, Fault.KEY_INVALID]


def test_cleared_faults_strike_no_more() -> None:
    faults = Faults(0, {Fault.RESET: 1.0})
    faults.schedule(Fault.HANG, 0, 100)
    faults.strike_next(Fault.HANG)
    faults.clear()
    assert struck(faults) is None


def test_a_hidden_generation_stays_hidden_until_it_is_known_for_good() -> None:
    faults = Faults(0, {Fault.NOT_FOUND_YET: 1.0}, Extent(not_found_yet_s=(2, 4)))
    hidden = [faults.hides("studio", "one", 0, age * 100_000) for age in range(60)]
    assert hidden[0]
    assert hidden[19]
    assert not any(hidden[40:])
    assert hidden == sorted(hidden, reverse=True)


def test_only_some_generations_are_hidden() -> None:
    faults = Faults(0, {Fault.NOT_FOUND_YET: 0.5})
    assert 70 < sum(faults.hides("studio", str(number), 0, 0) for number in range(200)) < 130
