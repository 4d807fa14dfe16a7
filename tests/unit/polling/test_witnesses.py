"""Whose trouble an error is: the table of `design.md`, with what was answered around it."""

import pytest

from exporter.errors import ApiErrorKind
from exporter.polling.witnesses import ENOUGH, MODELS, PLAN, RECENTLY, Owner, Witness, Witnesses
from exporter.vivix.client import Endpoint

UNAVAILABLE, UNEXPLAINED, REFUSED = ApiErrorKind.UNAVAILABLE, ApiErrorKind.UNEXPLAINED, ApiErrorKind.REFUSED
DIFFERENT_IDS = [ApiErrorKind.UNAVAILABLE, ApiErrorKind.UNEXPLAINED]


def of(number: int) -> Witness:
    return Witness(Endpoint.GENERATION, f"g{number}")


def following(count: int) -> Witnesses:
    return Witnesses({f"g{number}" for number in range(count)})


@pytest.mark.parametrize(
    ("kind", "owner"),
    [
        (ApiErrorKind.LOCKED_OUT, Owner.KEY),
        (ApiErrorKind.RATE_LIMITED, Owner.BUDGET),
        (ApiErrorKind.UNREACHABLE, Owner.API),
        (ApiErrorKind.NOT_FOUND, Owner.WITNESS),
        (ApiErrorKind.NOT_YOURS, Owner.WITNESS),
        (ApiErrorKind.REFUSED, Owner.WITNESS),
        (ApiErrorKind.UNEXPLAINED, Owner.WITNESS),
        (ApiErrorKind.UNAVAILABLE, Owner.WITNESS),
    ],
)
def test_every_kind_of_error_of_one_id_has_its_owner(kind: ApiErrorKind, owner: Owner) -> None:
    assert following(5).failed(of(0), kind, 0) is owner


def test_no_kind_is_without_a_rule() -> None:
    for kind in ApiErrorKind:
        following(1).failed(of(0), kind, 0)
        following(1).failed(PLAN, kind, 0)


@pytest.mark.parametrize("kind", DIFFERENT_IDS)
def test_different_ids_that_fail_in_a_row_are_the_apis_trouble_until_one_is_answered(
    kind: ApiErrorKind,
) -> None:
    witnesses = following(10)
    owners = [witnesses.failed(of(number), kind, number) for number in range(ENOUGH + 1)]
    assert owners == [*[Owner.WITNESS] * (ENOUGH - 1), Owner.API, Owner.API]
    witnesses.answered(of(9), 10)
    assert witnesses.failed(of(0), kind, 11) is Owner.WITNESS


def test_an_answer_in_between_shows_that_each_has_trouble_of_its_own() -> None:
    witnesses = following(100)
    for number in range(50):
        assert witnesses.failed(of(number), UNAVAILABLE, number) is Owner.WITNESS
        if number % (ENOUGH - 1):
            witnesses.answered(of(99), number)


def test_a_refusal_of_an_id_in_the_apis_own_words_is_an_answer_too() -> None:
    witnesses = following(10)
    for number in range(8):
        assert witnesses.failed(of(number), UNAVAILABLE, 0) is Owner.WITNESS
        witnesses.failed(of(9), REFUSED, 0)


def test_bad_ids_that_are_left_alone_do_not_make_the_api_look_down() -> None:
    """The good ones have ended, and only the wallet is answered, once a minute."""
    witnesses = following(12)
    for number in range(12):
        witnesses.failed(of(number), UNAVAILABLE, 0)
        witnesses.answered(PLAN, 0)
    for minute in range(10):
        assert {witnesses.failed(of(number), UNAVAILABLE, minute * 60) for number in range(12)} == {
            Owner.WITNESS
        }
        witnesses.answered(PLAN, minute * 60)


def test_one_id_that_fails_is_believed_while_the_wallet_is_answered() -> None:
    witnesses = following(1)
    witnesses.answered(PLAN, 0)
    for second in range(50):
        assert witnesses.failed(of(0), UNAVAILABLE, second) is Owner.WITNESS


def test_one_id_and_the_wallet_that_both_fail_are_the_apis_trouble() -> None:
    witnesses = following(1)
    witnesses.answered(of(0), 0)
    assert witnesses.failed(of(0), UNAVAILABLE, 1) is Owner.WITNESS
    assert witnesses.failed(PLAN, UNAVAILABLE, 2) is Owner.API


def test_a_second_outage_is_noticed_although_most_ids_still_suffer_from_the_first() -> None:
    witnesses = following(4)
    for number in range(4):
        witnesses.failed(of(number), UNAVAILABLE, 0)
    witnesses.failed(PLAN, UNAVAILABLE, 0)
    witnesses.answered(of(0), 1)
    assert witnesses.failed(of(0), UNAVAILABLE, 2) is Owner.API


def test_ids_that_are_followed_no_longer_do_not_count() -> None:
    followed = {"g0", "g1", "g2", "g3"}
    witnesses = Witnesses(followed)
    for number in range(2):
        witnesses.failed(of(number), UNAVAILABLE, 0)
        witnesses.answered(PLAN, 0)
    followed -= {"g0", "g1"}
    assert witnesses.failed(of(2), UNAVAILABLE, 1) is Owner.WITNESS
    assert witnesses.failed(of(3), UNAVAILABLE, 1) is Owner.WITNESS
    assert witnesses.failed(PLAN, UNAVAILABLE, 1) is Owner.API


@pytest.mark.parametrize("witness", [PLAN, MODELS])
@pytest.mark.parametrize("kind", [ApiErrorKind.NOT_FOUND, REFUSED, UNEXPLAINED, UNAVAILABLE])
def test_a_broken_endpoint_without_ids_is_nobodys_trouble(witness: Witness, kind: ApiErrorKind) -> None:
    witnesses = following(2)
    for minute in range(5):
        assert witnesses.failed(witness, kind, minute * 60) is Owner.WITNESS
        witnesses.answered(of(0), minute * 60)


def test_an_endpoint_closed_to_a_key_with_which_ids_are_answered_locks_nobody_out() -> None:
    witnesses = following(1)
    assert witnesses.failed(PLAN, ApiErrorKind.LOCKED_OUT, 0) is Owner.KEY
    witnesses.answered(of(0), 1)
    assert witnesses.failed(PLAN, ApiErrorKind.LOCKED_OUT, 60) is Owner.WITNESS
    assert witnesses.failed(of(0), ApiErrorKind.LOCKED_OUT, 61) is Owner.KEY


def test_with_nothing_followed_the_wallet_alone_decides() -> None:
    witnesses = following(0)
    assert witnesses.failed(MODELS, UNAVAILABLE, 0) is Owner.WITNESS
    assert witnesses.failed(PLAN, UNAVAILABLE, 0) is Owner.API


def test_own_trouble_is_measured_from_its_first_failure_to_the_next_answer() -> None:
    witnesses = following(5)
    for second in (10, 20, 30):
        witnesses.failed(of(0), UNAVAILABLE, second)
    assert witnesses.own_trouble(of(0), 100) == 90
    assert witnesses.times(of(0)) == 3
    assert witnesses.answered(of(0), 110) == 3
    assert witnesses.own_trouble(of(0), 120) == 0


def test_an_outage_of_the_api_is_never_an_ids_own_trouble() -> None:
    witnesses = following(5)
    for second in range(1000):
        for number in range(5):
            witnesses.failed(of(number), UNAVAILABLE, second)
    witnesses.answered(of(0), 1000)
    witnesses.failed(of(1), UNAVAILABLE, 1001)
    assert witnesses.own_trouble(of(1), 1002) == 1


def test_refusals_count_only_while_there_is_nothing_else() -> None:
    witnesses = following(5)
    witnesses.failed(of(0), REFUSED, 0)
    witnesses.failed(of(0), REFUSED, 30)
    assert witnesses.refused(of(0), REFUSED, 30) == 30
    witnesses.failed(of(0), UNAVAILABLE, 40)
    witnesses.failed(of(0), REFUSED, 50)
    assert witnesses.refused(of(0), REFUSED, 60) == 10


def test_a_4xx_that_the_api_does_not_explain_counts_only_while_it_answers_others() -> None:
    witnesses = following(1)
    witnesses.failed(of(0), UNEXPLAINED, 0)
    assert witnesses.refused(of(0), UNEXPLAINED, 60) == 0
    witnesses.answered(PLAN, 60)
    witnesses.failed(of(0), UNEXPLAINED, 61)
    assert witnesses.refused(of(0), UNEXPLAINED, 61) == 61
    assert witnesses.refused(of(0), UNEXPLAINED, 61 + RECENTLY) == 0
