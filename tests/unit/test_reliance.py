"""Webhooks are relied on until they are missed too often."""

from exporter.reliance import MISSES, Reliance


def test_an_account_without_webhooks_relies_on_none() -> None:
    assert not Reliance(configured=False).relied_on


def test_webhooks_are_relied_on_until_several_in_a_row_are_missed() -> None:
    reliance = Reliance(configured=True)
    for _ in range(MISSES - 1):
        reliance.missed()
        assert reliance.relied_on
    reliance.missed()
    assert not reliance.relied_on


def test_a_delivery_restores_the_trust() -> None:
    reliance = Reliance(configured=True)
    for _ in range(MISSES):
        reliance.missed()
    reliance.delivered()
    assert reliance.relied_on


def test_a_delivery_between_misses_keeps_it() -> None:
    reliance = Reliance(configured=True)
    for _ in range(3 * MISSES):
        reliance.missed()
        reliance.delivered()
    assert reliance.relied_on
