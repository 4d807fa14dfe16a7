"""How replicas divide the accounts among themselves."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.domain.values import AccountName
from exporter.ownership import OUT_OF_TURN, UNCLAIMED, divide
from exporter.store.leases import NOBODY, SPARE, Held, Lease, Standing

DEAD = "dead"
PLENTY = 40
"""Rounds in which any division must have become a fair one."""


def standing(holders: dict[AccountName, str], alive: frozenset[str]) -> Standing:
    leases = {account: Held(holder, Lease(1, 0)) for account, holder in holders.items()}
    return Standing(0, alive, leases, frozenset())


@st.composite
def divisions(draw: st.DrawFn) -> tuple[dict[AccountName, str], frozenset[str]]:
    """Who holds what, at any moment: the living, the dead or nobody."""
    alive = frozenset(f"replica-{number}" for number in range(draw(st.integers(1, 5))))
    names = [AccountName(f"account-{number}") for number in range(draw(st.integers(0, 12)))]
    holder = st.sampled_from([*sorted(alive), DEAD, NOBODY, SPARE])
    return {name: draw(holder) for name in names}, alive


@given(divisions(), st.randoms(use_true_random=False))
def test_every_account_gets_an_owner_and_nobody_two_more_than_another(
    found: tuple[dict[AccountName, str], frozenset[str]], random: Random
) -> None:
    holders, alive = found
    free_for: dict[str, Counter[AccountName]] = {name: Counter() for name in alive}
    for _ in range(PLENTY):
        for name in random.sample(sorted(alive), len(alive)):
            for account, holder in holders.items():
                free_for[name][account] = 0 if holder in alive else free_for[name][account] + 1
            division = divide(name, standing(holders, alive), list(holders), free_for[name])
            assert all(holders[account] not in alive for account in division.take), "its holder lives"
            holders.update(dict.fromkeys(division.take, name))
            if division.give_up is not None:
                assert holders[division.give_up] == name
                holders[division.give_up] = SPARE
    counts = Counter({name: 0 for name in alive})
    counts.update(holders.values())
    assert set(counts) == alive, "an account has no owner"
    assert max(counts.values()) - min(counts.values()) <= 1


def accounts(number: int) -> list[AccountName]:
    return [AccountName(f"a{place}") for place in range(number)]


@pytest.mark.parametrize("holder", [DEAD, NOBODY])
def test_what_a_replica_held_that_died_or_left_is_taken_by_any_other_at_once(holder: str) -> None:
    one, two, three, four = accounts(4)
    holders = {one: holder, two: "me", three: "me", four: "other"}
    found = standing(holders, frozenset({"me", "other"}))
    assert divide("me", found, accounts(5), Counter()).take == [one], "although another has fewer"


def test_what_was_given_up_is_left_to_whoever_has_fewer_unless_it_stays_free() -> None:
    one, two, three, four = accounts(4)
    found = standing({one: SPARE, two: "me", three: "me", four: "other"}, frozenset({"me", "other"}))
    assert divide("me", found, accounts(5), Counter({one: OUT_OF_TURN - 1})).take == []
    assert divide("me", found, accounts(5), Counter({one: OUT_OF_TURN})).take == [one]
    assert divide("other", found, accounts(5), Counter()).take == [one]


def test_what_a_dead_replica_held_is_taken_beyond_the_share_where_nobody_else_does() -> None:
    one, two, three = accounts(3)
    holders = {one: DEAD, two: "me", three: "me"}
    found = standing(holders, frozenset({"me", "killed a moment ago"}))
    assert divide("me", found, [one, two, three], Counter({one: 1})).take == []
    assert divide("me", found, [one, two, three], Counter({one: UNCLAIMED})).take == [one]


def test_what_was_given_up_in_vain_is_not_given_up_again() -> None:
    one, two, three = accounts(3)
    found = standing(dict.fromkeys([one, two, three], "me"), frozenset({"me", "other"}))
    assert divide("me", found, accounts(3), Counter()).give_up == one
    assert divide("me", found, accounts(3), Counter(), {one}).give_up == two
    assert divide("me", found, accounts(3), Counter(), {one, two, three}).give_up is None


def test_only_the_replica_with_the_most_gives_up_and_one_at_a_time() -> None:
    names = accounts(6)
    holders = dict(zip(names, ["me", "me", "me", "other", "other", "other"], strict=True))
    found = standing(holders, frozenset({"me", "other", "new"}))
    givers = [one for one in ("me", "other", "new") if divide(one, found, names, Counter()).give_up]
    assert givers == ["other"]
