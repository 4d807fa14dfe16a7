from exporter.simulator.delivered import NO_ANSWER, Delivered, DeliveryLog
from exporter.simulator.deliveries import Delivery, Kind


def delivery(kind: Kind) -> Delivery:
    return Delivery(kind, "studio", "one", 0, "generation.completed", b"{}", b"{}")


def test_the_first_acknowledgement_is_kept_and_every_attempt_counted() -> None:
    log = DeliveryLog()
    log.plan("one", [delivery(Kind.LATE), delivery(Kind.DOUBLED)])
    for at_us, (kind, status) in enumerate(
        [(Kind.LATE, NO_ANSWER), (Kind.LATE, 503), (Kind.LATE, 204), (Kind.DOUBLED, 204)]
    ):
        log.note(delivery(kind), status, at_us)
    assert log.of("one") == Delivered((Kind.LATE, Kind.DOUBLED), attempts=4, acknowledged_us=2)
    assert log.acknowledged() == {"one": 2}
    assert log.planned == {("studio", Kind.LATE): 1, ("studio", Kind.DOUBLED): 1}
    assert log.statuses == {
        ("studio", Kind.LATE, NO_ANSWER): 1,
        ("studio", Kind.LATE, 503): 1,
        ("studio", Kind.LATE, 204): 1,
        ("studio", Kind.DOUBLED, 204): 1,
    }


def test_what_tells_no_end_acknowledges_none() -> None:
    log = DeliveryLog()
    for kind in (Kind.FORGED, Kind.UNKNOWN_EVENT):
        log.note(delivery(kind), 204, 1)
    assert log.of("one") == Delivered()
    assert log.acknowledged() == {}
    assert log.statuses["studio", Kind.FORGED, 204] == 1


def test_of_one_never_heard_of_nothing_became() -> None:
    assert DeliveryLog().of("nobody") == Delivered()
