"""How an account in trouble is called: rarely, one call at a time, and at once when things are well."""

import random
from itertools import pairwise

from exporter.errors import ApiError, ApiErrorKind
from exporter.polling.backoff import (
    FIRST_LOCKOUT,
    FIRST_PAUSE,
    JITTER,
    LONGEST_LOCKOUT,
    LONGEST_PAUSE,
    RATE_LIMIT_PAUSE,
    Backoff,
)


def error(kind: ApiErrorKind, retry_after: float | None = None) -> ApiError:
    return ApiError(kind, "x", "y", retry_after=retry_after)


def backoff() -> Backoff:
    return Backoff(random.Random(1))


def fail(account: Backoff, kind: ApiErrorKind, times: int, now: float = 0.0) -> list[float]:
    pauses = []
    for _ in range(times):
        pauses.append(account.failed(error(kind), now, now))
        now = account.paused_until
    return pauses


def test_nothing_is_claimed_before_the_first_call() -> None:
    account = backoff()
    assert (account.up, account.key_valid) == (None, None)


def test_pauses_double_up_to_the_longest() -> None:
    pauses = fail(backoff(), ApiErrorKind.UNAVAILABLE, 10)
    assert FIRST_PAUSE <= pauses[0] <= FIRST_PAUSE * (1 + JITTER)
    assert LONGEST_PAUSE <= pauses[-1] <= LONGEST_PAUSE * (1 + JITTER)
    assert all(later > earlier for earlier, later in pairwise(pauses[:5]))


def test_an_answer_ends_the_trouble() -> None:
    account = backoff()
    fail(account, ApiErrorKind.UNAVAILABLE, 5)
    assert account.troubled
    assert account.up is False
    account.answered()
    assert not account.troubled
    assert account.up is True
    assert fail(account, ApiErrorKind.UNAVAILABLE, 1)[0] < 2 * FIRST_PAUSE


def test_calls_that_were_under_way_when_trouble_began_do_not_lengthen_the_pause() -> None:
    account = backoff()
    account.failed(error(ApiErrorKind.UNAVAILABLE), started=0, now=10)
    until = account.paused_until
    for started in (1, 2, 3):
        account.failed(error(ApiErrorKind.UNAVAILABLE), started=started, now=10.1)
    assert account.paused_until == until


def test_a_key_that_does_not_work_locks_the_account_out_for_longer_and_longer() -> None:
    account = backoff()
    pauses = fail(account, ApiErrorKind.LOCKED_OUT, 12)
    assert account.locked_out
    assert account.key_valid is False
    assert FIRST_LOCKOUT <= pauses[0] <= FIRST_LOCKOUT * (1 + JITTER)
    assert LONGEST_LOCKOUT <= pauses[-1] <= LONGEST_LOCKOUT * (1 + JITTER)


def test_a_new_key_is_tried_at_once() -> None:
    account = backoff()
    fail(account, ApiErrorKind.LOCKED_OUT, 8)
    account.new_key(now=100.0)
    assert account.paused_until == 100.0


def test_an_unreachable_api_says_nothing_about_the_key() -> None:
    account = backoff()
    account.answered()
    fail(account, ApiErrorKind.UNAVAILABLE, 1)
    assert account.key_valid is True


def test_too_many_calls_wait_as_long_as_the_api_asks() -> None:
    account = backoff()
    account.answered()
    assert account.failed(error(ApiErrorKind.RATE_LIMITED, retry_after=17), 0, 0) == 17
    assert account.paused_until == 17
    assert account.up is True


def test_too_many_calls_without_a_word_wait_for_a_whole_window() -> None:
    assert backoff().failed(error(ApiErrorKind.RATE_LIMITED), 0, 0) == RATE_LIMIT_PAUSE


def test_a_longer_wait_that_the_api_asks_for_is_kept() -> None:
    account = backoff()
    assert account.failed(error(ApiErrorKind.UNAVAILABLE, retry_after=60), 0, 0) == 60
