from pathlib import Path

from exporter.simulator.truth import Truth
from soak.exactness import durable_rows
from soak.promises import log_rows, memory_rows
from soak.row import Row
from soak.supervised import Life, Log
from support.scrape import parse

HOUR = 3_600.0
QUIET = (13.0, 21.0)
MIB = 1 << 20


def life(began_h: float, lasting_h: float, *, mib: float, growing: float = 0.0) -> Life:
    minutes = range(1, int(lasting_h * 60))
    return Life(1, began_h * HOUR, [(m * 60.0, int((mib + growing * m / 60) * MIB)) for m in minutes])


def log(*lines: str) -> Log:
    taken = Log(Path("exporter.log"), {"whsec_1"})
    for line in lines:
        taken.take(line)
    return taken


def truth_of(ended: dict[tuple[str, str, str], int]) -> Truth:
    durations = {key: (1_000_000,) * count for key, count in ended.items()}
    return Truth(ended, {}, {}, {}, durations, {}, 0, 0, {})


def failed(rows: list[Row]) -> list[str]:
    return [row.what for row in rows if row.wrong]


def test_a_counter_that_differs_from_the_truth_fails_its_row_and_no_other() -> None:
    page = parse('vivix_generations_total{account="a",model="m",status="completed"} 3\n')
    assert failed(list(durable_rows(page, truth_of({}))))[0] == "vivix_generations_total"
    wrong = next(row for row in durable_rows(page, truth_of({})) if row.wrong)
    assert wrong.wrong == ["vivix_generations_total: ('a', 'm', 'completed'): 3, expected 0 (+3)"]


def test_the_last_process_may_be_no_larger_than_an_early_one_of_equal_age() -> None:
    lives = [life(0, 1, mib=50), life(1, 2, mib=90), life(3, 2, mib=92)]
    assert failed(list(memory_rows(lives, QUIET))) == []
    assert len(failed(list(memory_rows([*lives, life(5, 2, mib=96)], QUIET)))) == 1


def test_a_process_that_grows_after_its_third_hour_leaks() -> None:
    steady, leaking = life(1, 8, mib=90), life(1, 8, mib=90, growing=2)
    assert failed(list(memory_rows([life(0, 1, mib=90), steady], QUIET))) == []
    assert len(failed(list(memory_rows([life(0, 1, mib=90), leaking], QUIET)))) == 1


def test_a_run_too_short_to_tell_says_so_and_does_not_fail() -> None:
    rows = list(memory_rows([life(0, 1, mib=90)], QUIET))
    assert failed(rows) == []
    assert all("too short" in row.found for row in rows)


def test_the_lines_of_the_ends_do_not_count_and_a_traceback_or_secret_does() -> None:
    ends = ['level=info msg="generation ended" id=1'] * 40_000
    assert failed(list(log_rows(log(*ends), days=1))) == []
    assert failed(list(log_rows(log(*(['level=warning msg="call failed"'] * 40_000)), days=1))) == [
        "log under 1 MB a simulated day"
    ]
    assert failed(list(log_rows(log("Traceback (most recent call last):"), days=1))) == [
        "no traceback in the log"
    ]
    assert failed(list(log_rows(log("msg=oops secret=whsec_1"), days=1))) == [
        "no secret and no output URL in the log"
    ]
