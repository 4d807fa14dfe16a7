from exporter.simulator.wallet import CYCLE_US, Wallet


def test_a_reservation_moves_credits_from_balance_to_spent() -> None:
    wallet = Wallet(100)
    assert wallet.reserve(30, 0) is not None
    assert (wallet.balance, wallet.spent) == (70, 30)


def test_a_reservation_beyond_the_balance_changes_nothing() -> None:
    wallet = Wallet(100)
    assert wallet.reserve(101, 0) is None
    assert (wallet.balance, wallet.spent) == (100, 0)


def test_what_was_not_used_is_given_back() -> None:
    wallet = Wallet(100)
    reservation = wallet.reserve(30, 0)
    assert reservation is not None
    wallet.settle(reservation, 20, 1)
    assert (wallet.balance, wallet.spent) == (80, 20)


def test_a_new_cycle_begins_with_the_granted_credits() -> None:
    wallet = Wallet(100)
    wallet.reserve(30, 5)
    assert wallet.resets_us(5) == CYCLE_US
    wallet.enter(CYCLE_US)
    assert (wallet.balance, wallet.spent, wallet.resets_us(CYCLE_US)) == (100, 0, 2 * CYCLE_US)


def test_bought_credits_last_until_the_cycle_ends() -> None:
    wallet = Wallet(100)
    wallet.reserve(30, 5)
    wallet.top_up(50, 5)
    assert (wallet.granted, wallet.balance, wallet.spent) == (150, 120, 30)
    wallet.enter(CYCLE_US)
    assert (wallet.granted, wallet.balance, wallet.spent) == (100, 100, 0)


def test_a_refund_from_the_last_cycle_does_not_lower_what_this_one_spent() -> None:
    wallet = Wallet(100)
    reservation = wallet.reserve(30, 5)
    assert reservation is not None
    wallet.reserve(10, CYCLE_US)
    wallet.settle(reservation, 0, CYCLE_US + 1)
    assert (wallet.balance, wallet.spent) == (120, 10)
