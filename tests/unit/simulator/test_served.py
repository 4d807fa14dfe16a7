from exporter.simulator.answers import Body
from exporter.simulator.served import Shown, ShownLog


def body(status: str, elapsed_ms: int | None = None) -> Body:
    answer: Body = {"generation_id": "one", "status": status}
    return answer if elapsed_ms is None else {**answer, "model": "m", "elapsed_ms": elapsed_ms}


def test_the_first_answer_that_said_processing_is_remembered() -> None:
    shown = ShownLog()
    for now_us, answer in enumerate([body("pending", 1), body("processing", 5), body("processing", 9)]):
        shown.note(answer, now_us, reader=0)
    assert shown.of("one") == Shown(pending=True, processing_elapsed_ms=5, model=True, answers=3, named_to=0)


def test_the_first_showing_of_the_end_is_remembered() -> None:
    shown = ShownLog()
    shown.note(body("failed"), 70, reader=0)
    shown.note(body("failed"), 80, reader=0)
    assert shown.of("one") == Shown(ended_us=70, answers=2)


def test_a_damaged_answer_before_processing_was_shown_makes_it_doubtful() -> None:
    shown = ShownLog()
    shown.note_damaged("one")
    assert shown.of("one").doubtful
    shown.note(body("processing", 5), 1, reader=0)
    assert shown.of("one").doubtful


def test_a_damaged_answer_after_processing_was_shown_does_not() -> None:
    shown = ShownLog()
    shown.note(body("processing", 5), 1, reader=0)
    shown.note_damaged("one")
    assert not shown.of("one").doubtful


def test_of_a_generation_never_asked_for_nothing_was_shown() -> None:
    assert ShownLog().of("never") == Shown()


def test_a_model_is_surely_named_once_the_reader_that_was_told_asks_again() -> None:
    shown = ShownLog()
    shown.note(body("pending", 1), 1, shown.ask("one"))
    assert not shown.of("one").surely_named
    shown.ask("one")
    assert shown.of("one").surely_named


def test_that_another_reader_asks_does_not_say_that_a_dead_one_got_its_answer() -> None:
    shown = ShownLog()
    dead = shown.ask("one")
    shown.new_reader()
    shown.note(body("pending", 1), 1, dead)
    shown.ask("one")
    assert not shown.of("one").surely_named


def test_what_was_shown_to_a_reader_that_keeps_nothing_is_not_surely_known() -> None:
    shown = ShownLog()
    shown.note(body("pending", 1), 1, shown.ask("one"))
    shown.forgetting(True)
    shown.note(body("pending", 2), 2, shown.ask("one"))
    shown.forgetting(False)
    shown.ask("one")
    assert not shown.of("one").surely_named
    shown.note(body("pending", 3), 3, shown.ask("one"))
    shown.ask("one")
    assert shown.of("one").surely_named
