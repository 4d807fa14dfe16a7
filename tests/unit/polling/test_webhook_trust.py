"""Webhooks are relied on until they are missed too often."""

from exporter.polling.webhook_trust import MISSES, WebhookTrust


def test_an_account_without_webhooks_relies_on_none() -> None:
    assert not WebhookTrust(configured=False).relied_on


def test_webhooks_are_relied_on_until_several_in_a_row_are_missed() -> None:
    webhook_trust = WebhookTrust(configured=True)
    for _ in range(MISSES - 1):
        webhook_trust.missed()
        assert webhook_trust.relied_on
    webhook_trust.missed()
    assert not webhook_trust.relied_on


def test_a_delivery_restores_the_trust() -> None:
    webhook_trust = WebhookTrust(configured=True)
    for _ in range(MISSES):
        webhook_trust.missed()
    webhook_trust.delivered()
    assert webhook_trust.relied_on


def test_a_delivery_between_misses_keeps_it() -> None:
    webhook_trust = WebhookTrust(configured=True)
    for _ in range(3 * MISSES):
        webhook_trust.missed()
        webhook_trust.delivered()
    assert webhook_trust.relied_on
