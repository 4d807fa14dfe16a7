"""How an account in trouble is called: rarely, one call at a time, and at once when it is answered again."""

import random
from itertools import pairwise

import pytest

from exporter.polling.backoff import (
    CERTAIN,
    FIRST_LOCKOUT,
    FIRST_PAUSE,
    JITTER,
    LONGEST_LOCKOUT,
    LONGEST_PAUSE,
    RATE_LIMIT_PAUSE,
    Backoff,
)
from exporter.polling.witnesses import Owner


def backoff() -> Backoff:
    return Backoff(random.Random(1))


def fail(
    account: Backoff, owner: Owner, times: int, now: float = 0.0, *, certain: bool = True
) -> list[float]:
    pauses = []
    for _ in range(times):
        pauses.append(account.failed(owner, now, now, certain=certain))
        now = account.paused_until
    return pauses


def test_nothing_is_claimed_before_the_first_call() -> None:
    account = backoff()
    assert (account.up, account.key_valid) == (None, None)


def test_pauses_double_up_to_the_longest() -> None:
    pauses = fail(backoff(), Owner.API, 10)
    assert FIRST_PAUSE <= pauses[0] <= FIRST_PAUSE * (1 + JITTER)
    assert LONGEST_PAUSE <= pauses[-1] <= LONGEST_PAUSE * (1 + JITTER)
    assert all(later > earlier for earlier, later in pairwise(pauses[:5]))


def test_an_answer_ends_the_trouble() -> None:
    account = backoff()
    fail(account, Owner.API, 5)
    assert account.troubled
    assert account.up is False
    account.answered()
    assert not account.troubled
    assert account.up is True
    assert fail(account, Owner.API, 1)[0] < 2 * FIRST_PAUSE


def test_an_api_that_never_answered_these_ids_is_down_only_once_some_more_calls_fail() -> None:
    account = backoff()
    account.answered()
    fail(account, Owner.API, CERTAIN, certain=False)
    assert account.troubled
    assert account.up is True
    fail(account, Owner.API, 1, certain=False)
    assert account.up is False


@pytest.mark.parametrize("owner", [Owner.API, Owner.KEY])
def test_calls_that_were_under_way_when_trouble_began_do_not_lengthen_the_pause(owner: Owner) -> None:
    account = backoff()
    account.failed(owner, started=0, now=10)
    until = account.paused_until
    for started in (1, 2, 3):
        account.failed(owner, started=started, now=10.1)
    assert account.paused_until == until


def test_a_key_that_does_not_work_locks_the_account_out_for_longer_and_longer() -> None:
    account = backoff()
    pauses = fail(account, Owner.KEY, 12)
    assert account.locked_out
    assert account.key_valid is False
    assert FIRST_LOCKOUT <= pauses[0] <= FIRST_LOCKOUT * (1 + JITTER)
    assert LONGEST_LOCKOUT <= pauses[-1] <= LONGEST_LOCKOUT * (1 + JITTER)


def test_a_key_refused_in_turn_with_other_errors_is_tried_less_and_less_often_all_the_same() -> None:
    account, now, pauses = backoff(), 0.0, []
    for _ in range(10):
        pauses.append(account.failed(Owner.KEY, now, now))
        now = account.paused_until
        account.unlocked()
        account.failed(Owner.API, now, now)
        now = account.paused_until
    assert pauses[-1] >= LONGEST_LOCKOUT


def test_an_answer_that_is_not_a_lock_out_ends_it_and_leaves_open_whether_the_key_works() -> None:
    account = backoff()
    fail(account, Owner.KEY, 1)
    account.unlocked()
    assert not account.locked_out
    assert account.key_valid is None
    assert account.troubled, "one call at a time until one is answered"


def test_a_new_key_is_tried_at_once() -> None:
    account = backoff()
    fail(account, Owner.KEY, 8)
    account.new_key(now=100.0)
    assert account.paused_until == 100.0


def test_an_unreachable_api_says_nothing_about_the_key() -> None:
    account = backoff()
    account.answered()
    fail(account, Owner.API, 1)
    assert account.key_valid is True


def test_too_many_calls_wait_as_long_as_the_api_asks() -> None:
    account = backoff()
    account.answered()
    assert account.failed(Owner.BUDGET, 0, 0, retry_after=17) == 17
    assert account.paused_until == 17
    assert account.up is True


def test_too_many_calls_without_a_word_wait_for_a_whole_window() -> None:
    assert backoff().failed(Owner.BUDGET, 0, 0) == RATE_LIMIT_PAUSE


def test_a_longer_wait_that_the_api_asks_for_is_kept() -> None:
    assert backoff().failed(Owner.API, 0, 0, retry_after=60) == 60


def test_a_rate_limit_that_asks_for_no_wait_is_waited_for_longer_each_time_until_an_answer() -> None:
    account, now, pauses = backoff(), 0.0, []
    for _ in range(8):
        pauses.append(account.failed(Owner.BUDGET, now, now, retry_after=0))
        assert account.troubled
        now = account.paused_until
    assert pauses[0] <= FIRST_PAUSE * (1 + JITTER)
    assert pauses[-1] >= RATE_LIMIT_PAUSE
    assert all(later > earlier for earlier, later in pairwise(pauses[:6]))
    account.answered()
    assert account.failed(Owner.BUDGET, now, now, retry_after=0) <= FIRST_PAUSE * (1 + JITTER)


def test_calls_that_were_under_way_at_a_rate_limit_make_no_wait_longer() -> None:
    account = backoff()
    account.failed(Owner.BUDGET, 0.0, 1.0, retry_after=5)
    for _ in range(10):
        account.failed(Owner.BUDGET, 0.5, 1.5, retry_after=0)
    assert account.paused_until == 6.0


def test_ids_that_may_be_bad_do_not_make_the_account_wait_as_long_as_they_ask() -> None:
    assert backoff().failed(Owner.API, 0, 0, 60.0, certain=False) <= FIRST_PAUSE * (1 + JITTER)
    assert backoff().failed(Owner.API, 0, 0, 60.0) == 60.0
