"""When spans that the receiver refused are retried.

Nothing is remembered for it but what the store holds: the pause is the time since the end, so the age of the
spans about doubles from one attempt to the next.
"""

from exporter.clock import MICROS
from exporter.store.reading import DueSpans

FIRST_US, LONGEST_US = 60 * MICROS, 3_600 * MICROS
"""The shortest and the longest pause before a retry, in microseconds."""


def retry_at_us(refused: DueSpans, now_us: int) -> int:
    """Return the time of the next attempt, in Unix microseconds, of spans that have just been refused."""
    ended_us = refused.generation.ended_us
    if not refused.is_set_aside or ended_us is None:
        return now_us + FIRST_US
    return now_us + min(max(FIRST_US, now_us - ended_us), LONGEST_US)
