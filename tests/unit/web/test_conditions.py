"""A condition has two lines, however often it is met."""

import structlog

from exporter.web.conditions import Condition
from support.running import until


async def test_a_condition_is_logged_when_it_begins_and_with_a_count_when_it_has_ended() -> None:
    condition = Condition("it begins", "it has ended", quiet=0.02)
    with structlog.testing.capture_logs() as logs:
        for number in range(5):
            condition.note(client=f"192.0.2.{number}")
        await until(lambda: len(logs) == 2, "it has ended")
        condition.note(client="192.0.2.9")
    condition.close()
    assert [(line["log_level"], line["event"]) for line in logs] == [
        ("warning", "it begins"),
        ("info", "it has ended"),
        ("warning", "it begins"),
    ]
    assert [line["client"] for line in logs if "client" in line] == ["192.0.2.0", "192.0.2.9"]
    assert logs[1]["count"] == 5
