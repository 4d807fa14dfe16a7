from dataclasses import replace

import pytest

from exporter.clock import MICROS
from exporter.domain.values import (
    AccountName,
    Drop,
    DropReason,
    End,
    Generation,
    GenerationId,
    Source,
    Status,
    Via,
)
from exporter.web.pages.story import WIDTH, life, sentence
from exporter.web.pages.words import amount, duration

START_US = 1_790_000_000 * MICROS
KNOWN = Generation(AccountName("studio"), GenerationId("one"), Source.API, START_US)
QUEUED = replace(KNOWN, status=Status.PENDING, created_us=START_US)
RENDERED = replace(
    QUEUED,
    status=Status.PROCESSING,
    processing_us=START_US + 4 * MICROS,
    processing_uncertainty_us=3 * MICROS,
)
FAILED = replace(
    RENDERED,
    status=Status.FAILED,
    end=End(
        Status.FAILED, START_US + 4 * MICROS, START_US + 9 * MICROS, Via.POLL, 4_300_000, 0, 0,
        "PROVIDER_ERROR", "Underlying model returned an error.",
    ),
)  # fmt: skip


def ended(generation: Generation, outputs: int) -> Generation:
    end = End(Status.COMPLETED, START_US, START_US, Via.POLL, 12_000_000, 14_500_000, outputs, None, None)
    return replace(generation, status=Status.COMPLETED, end=end)


@pytest.mark.parametrize(
    ("generation", "expected"),
    [
        (KNOWN, "Registered 30 s ago; the Vivix API has not answered for it yet."),
        (QUEUED, "Waiting in the queue, for 30 s so far."),
        (RENDERED, "Being rendered; submitted 30 s ago."),
        (
            FAILED,
            "Failed after 4.3 s: PROVIDER_ERROR, Underlying model returned an error. Nothing was charged.",
        ),
        (ended(QUEUED, 1), "Completed after 12 s: 1 output, for 14.5 credits."),
        (ended(QUEUED, 2), "Completed after 12 s: 2 outputs, for 14.5 credits."),
        (
            replace(KNOWN, drop=Drop(DropReason.NOT_FOUND, START_US + 60 * MICROS)),
            "No longer followed after 1 min: the Vivix API does not know this id. "
            "It is not known to have ended.",
        ),
    ],
)
def test_what_became_of_a_generation_is_one_sentence(generation: Generation, expected: str) -> None:
    assert sentence(generation, START_US + 30 * MICROS) == expected


@pytest.mark.parametrize("reason", DropReason)
def test_every_reason_for_a_drop_has_words(reason: DropReason) -> None:
    assert "No longer followed" in sentence(replace(KNOWN, drop=Drop(reason, START_US)), START_US)


def test_a_life_is_drawn_from_submission_until_its_end_was_noticed() -> None:
    parts = life(FAILED, START_US + 90 * MICROS)
    assert [(part.kind, (part.to_us - part.from_us) / MICROS) for part in parts] == [
        ("queued", 1.0),
        ("unsure", 3.0),
        ("rendering", pytest.approx(0.3)),
        ("unnoticed", pytest.approx(4.7)),
    ]
    assert parts[0].x == 0
    assert parts[-1].x + parts[-1].width == pytest.approx(WIDTH, abs=0.2)


def test_a_life_that_goes_on_is_drawn_until_now_and_an_unknown_one_not_at_all() -> None:
    assert life(QUEUED, START_US + 5 * MICROS)[-1].to_us == START_US + 5 * MICROS
    assert life(QUEUED, START_US) == []
    assert life(KNOWN, START_US) == []


@pytest.mark.parametrize(
    ("us", "expected"),
    [
        (0, "0.0 s"), (4_300_000, "4.3 s"), (12_400_000, "12 s"), (125 * MICROS, "2 min 5 s"),
        (59_900_000, "60 s"), (3_600 * MICROS, "1 h"), (100_800 * MICROS, "1 d 4 h"), (-5, "0.0 s"),
    ],
)  # fmt: skip
def test_durations_are_read_at_a_glance(us: int, expected: str) -> None:
    assert duration(us) == expected


def test_amounts_have_no_needless_digits() -> None:
    assert [amount(number) for number in (0, 12.5, 3.14159)] == ["0", "12.5", "3.14"]
    assert amount(1_234_567) == "1\N{NARROW NO-BREAK SPACE}234\N{NARROW NO-BREAK SPACE}567"
