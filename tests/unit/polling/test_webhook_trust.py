"""Webhooks are relied on until they are missed too often."""

from exporter.polling.webhook_trust import MISSES, QUIET, WebhookTrust


def test_an_account_without_webhooks_relies_on_none() -> None:
    assert not WebhookTrust(configured=False).relied_on


def test_webhooks_are_relied_on_until_several_in_a_row_are_missed() -> None:
    webhook_trust = WebhookTrust(configured=True)
    for _ in range(MISSES - 1):
        assert not webhook_trust.missed()
        assert webhook_trust.relied_on
    assert webhook_trust.missed(), "this one ends the trust"
    assert not webhook_trust.relied_on
    assert not webhook_trust.missed()


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


def test_refused_deliveries_are_logged_when_they_begin_and_when_a_genuine_one_arrives_again() -> None:
    trust = WebhookTrust(configured=True)
    assert trust.genuine() is None
    assert [trust.refused(now) for now in (1.0, 2.0, 3.0, 1e6)] == [True, False, False, False]
    assert trust.refusals == 4
    assert trust.genuine() == 4
    assert trust.genuine() is None
    assert trust.refusals == 0


def test_a_forger_between_genuine_deliveries_is_logged_only_once_in_a_while() -> None:
    trust, begun, ended = WebhookTrust(configured=True), 0, 0
    for second in range(1, 86_400):
        begun += trust.refused(float(second))
        ended += trust.genuine() is not None
    assert begun == ended <= 86_400 / QUIET + 1


def test_refused_deliveries_neither_end_nor_restore_the_trust() -> None:
    trust = WebhookTrust(configured=True)
    for _ in range(100):
        trust.refused(0.0)
    assert trust.relied_on
    for _ in range(MISSES):
        trust.missed()
    trust.refused(0.0)
    assert not trust.relied_on
