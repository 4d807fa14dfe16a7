"""What is polled next: what is due, newest first of what was never seen, and nothing forgotten."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.domain.values import GenerationId
from exporter.polling.net import AT_MOST, EVERY, NetAllowance
from exporter.polling.schedule import ASIDE_TURN, TURN, USABLE, USABLE_WITH_UNSEEN, Schedule, stretch


def gid(number: int) -> GenerationId:
    return GenerationId(f"g{number}")


def drain(schedule: Schedule, now: float) -> list[GenerationId]:
    picked = []
    while (id := schedule.pick(now)) is not None:
        picked.append(id)
    return picked


@dataclass
class NaiveSchedule:
    """The same by plain lists, searched from end to end."""

    unseen: list[tuple[int, GenerationId]] = field(default_factory=list)
    due: list[tuple[float, GenerationId]] = field(default_factory=list)
    in_net: list[tuple[float, GenerationId]] = field(default_factory=list)
    net: NetAllowance = field(default_factory=NetAllowance)
    rates: dict[GenerationId, float] = field(default_factory=dict)
    contested: int = 0

    def off(self, id: GenerationId) -> None:
        self.unseen = [entry for entry in self.unseen if entry[1] != id]
        self.due = [entry for entry in self.due if entry[1] != id]
        self.in_net = [entry for entry in self.in_net if entry[1] != id]

    def add_unseen(self, id: GenerationId, order: int) -> None:
        self.off(id)
        self.unseen.append((order, id))
        self.rates[id] = 0.0

    def schedule(self, id: GenerationId, due: float, rate: float) -> None:
        self.off(id)
        self.due.append((due, id))
        self.rates[id] = rate

    def set_net(self, id: GenerationId, due: float) -> None:
        self.off(id)
        self.in_net.append((due, id))
        self.rates[id] = 0.0

    def is_waiting(self, id: GenerationId) -> bool:
        return any(id == other for _, other in [*self.unseen, *self.due, *self.in_net])

    def remove(self, id: GenerationId) -> None:
        self.off(id)
        self.rates.pop(id, None)

    def next_net(self) -> float | None:
        return max(min(self.in_net)[0], self.net.possible_at) if self.in_net else None

    def pick(self, now: float) -> GenerationId | None:
        due = [entry for entry in self.due if entry[0] <= now]
        at = self.next_net()
        if at is not None and at <= now and not (due and min(entry[0] for entry in due) <= at):
            due = [min(self.in_net)]
        if due and self.unseen:
            self.contested += 1
        if self.unseen and (not due or self.contested % TURN == 0):
            newest = max(order for order, _ in self.unseen)
            id = min(id for order, id in self.unseen if order == newest)
        elif due:
            first, id = min(due)
            if (first, id) in self.in_net:
                self.net.spend(now)
        else:
            return None
        self.off(id)
        return id

    def next_due(self) -> float | None:
        if self.unseen:
            return float("-inf")
        net = self.next_net()
        return min([at for at, _ in self.due] + ([] if net is None else [net]), default=None)


IDS = st.integers(0, 6).map(gid)
OPERATIONS = st.one_of(
    st.tuples(st.just("unseen"), IDS, st.integers(0, 5)),
    st.tuples(st.just("schedule"), IDS, st.integers(0, 20), st.integers(0, 8)),
    st.tuples(st.just("net"), IDS, st.integers(0, 20)),
    st.tuples(st.just("net"), IDS, st.integers(0, 20)),
    st.tuples(st.just("remove"), IDS),
    st.tuples(st.just("pick"), st.integers(0, 20)),
    st.tuples(st.just("pick"), st.integers(0, 20)),
)


@given(st.lists(OPERATIONS, max_size=80))
def test_it_does_what_a_naive_list_does(operations: list[tuple[object, ...]]) -> None:
    schedule, naive = Schedule(), NaiveSchedule()
    for operation in operations:
        match operation:
            case ("unseen", str(id), int(order)):
                schedule.add_unseen(GenerationId(id), order)
                naive.add_unseen(GenerationId(id), order)
            case ("schedule", str(id), int(due), int(eighths)):
                schedule.set_due(GenerationId(id), due, eighths / 8)
                naive.schedule(GenerationId(id), due, eighths / 8)
            case ("net", str(id), int(due)):
                schedule.set_net(GenerationId(id), due)
                naive.set_net(GenerationId(id), due)
            case ("remove", str(id)):
                schedule.remove(GenerationId(id))
                naive.remove(GenerationId(id))
            case ("pick", int(now)):
                assert schedule.pick(now) == naive.pick(now)
            case _:
                raise AssertionError(operation)
        assert schedule.next_due() == naive.next_due()
        assert schedule.unseen_waiting == bool(naive.unseen)
        assert len(schedule) == len(naive.rates)
        assert all(schedule.is_waiting(id) == naive.is_waiting(id) for id in map(gid, range(7)))
        assert schedule.demand == sum(naive.rates.values())


def test_an_empty_schedule_wants_nothing() -> None:
    schedule = Schedule()
    assert schedule.pick(0.0) is None
    assert schedule.next_due() is None
    assert not schedule.unseen_waiting
    assert schedule.demand == 0


def test_the_newest_id_never_seen_goes_first() -> None:
    schedule = Schedule()
    for order in (2, 5, 1, 4, 3):
        schedule.add_unseen(gid(order), order)
    assert drain(schedule, 0.0) == [gid(order) for order in (5, 4, 3, 2, 1)]


def test_what_is_due_first_goes_first_and_what_is_due_later_waits() -> None:
    schedule = Schedule()
    for due in (3, 1, 2, 9):
        schedule.set_due(gid(due), due, 0.1)
    assert drain(schedule, 5.0) == [gid(1), gid(2), gid(3)]
    assert schedule.next_due() == 9


def test_one_poll_in_four_goes_to_an_id_never_seen_while_due_ones_wait() -> None:
    schedule = Schedule()
    for number in range(30):
        schedule.set_due(gid(number), number, 0.1)
    for number in range(100, 110):
        schedule.add_unseen(gid(number), number)
    picked = [schedule.pick(100.0) for _ in range(40)]
    kinds = ["unseen" if id is not None and int(id[1:]) >= 100 else "due" for id in picked]
    assert kinds == ["due", "due", "due", "unseen"] * 10


def test_the_net_polls_what_is_due_while_its_allowance_lasts() -> None:
    schedule = Schedule()
    for number in range(10):
        schedule.set_net(gid(number), number)
    assert schedule.pick(-1.0) is None
    assert drain(schedule, 20.0) == [gid(number) for number in range(int(AT_MOST))]
    assert schedule.next_due() == 20.0 + EVERY
    assert drain(schedule, 20.0 + EVERY) == [gid(int(AT_MOST))]


def test_what_the_net_found_to_have_ended_lets_it_go_on() -> None:
    schedule = Schedule()
    for number in range(100):
        schedule.set_net(gid(number), number)
    for number in range(100):
        assert schedule.pick(200.0) == gid(number)
        schedule.net.refund()


def test_a_spent_net_holds_up_nothing_else() -> None:
    schedule = Schedule()
    for number in range(10):
        schedule.set_net(gid(number), number)
    drain(schedule, 20.0)
    schedule.set_due(gid(20), 21.0, 0.1)
    schedule.add_unseen(gid(21), 1)
    assert drain(schedule, 22.0) == [gid(20), gid(21)]


def test_ids_never_seen_have_every_poll_while_nothing_is_due() -> None:
    schedule = Schedule()
    schedule.set_due(gid(0), 100.0, 0.1)
    for number in range(1, 4):
        schedule.add_unseen(gid(number), number)
    assert drain(schedule, 0.0) == [gid(3), gid(2), gid(1)]


def test_an_id_never_seen_is_wanted_at_once() -> None:
    schedule = Schedule()
    schedule.set_due(gid(0), 1.0, 0.1)
    schedule.add_unseen(gid(1), 1)
    assert schedule.next_due() == float("-inf")
    assert schedule.unseen_waiting


def test_a_removed_id_is_never_picked() -> None:
    schedule = Schedule()
    schedule.set_due(gid(1), 1.0, 0.1)
    schedule.add_unseen(gid(2), 1)
    schedule.remove(gid(1))
    schedule.remove(gid(2))
    schedule.remove(gid(3))
    assert schedule.pick(10.0) is None
    assert len(schedule) == 0


def test_an_id_scheduled_again_is_polled_once_and_at_the_new_time() -> None:
    schedule = Schedule()
    schedule.set_due(gid(1), 1.0, 0.1)
    schedule.set_due(gid(1), 5.0, 0.2)
    assert schedule.next_due() == 5.0
    assert schedule.pick(4.0) is None
    assert drain(schedule, 5.0) == [gid(1)]
    assert schedule.demand == 0.2


def test_an_id_that_was_scheduled_is_no_longer_unseen() -> None:
    schedule = Schedule()
    schedule.add_unseen(gid(1), 1)
    schedule.set_due(gid(1), 5.0, 0.1)
    assert not schedule.unseen_waiting
    assert schedule.pick(4.0) is None


def test_a_picked_id_is_off_the_schedule_until_it_is_scheduled_again() -> None:
    schedule = Schedule()
    schedule.set_due(gid(1), 1.0, 0.1)
    assert schedule.pick(1.0) == gid(1)
    assert schedule.pick(100.0) is None
    assert len(schedule) == 1
    schedule.set_due(gid(1), 2.0, 0.1)
    assert schedule.pick(2.0) == gid(1)


def test_a_backlog_of_a_hundred_thousand_ids_is_gone_through_in_order() -> None:
    schedule = Schedule()
    for order in range(100_000):
        schedule.add_unseen(gid(order), order)
    assert schedule.demand == 0
    assert drain(schedule, 0.0) == [gid(order) for order in reversed(range(100_000))]


@given(st.lists(st.floats(1e-3, 2.0), max_size=50))
def test_demand_adds_up_and_comes_back_to_nothing(rates: list[float]) -> None:
    schedule = Schedule()
    for number, rate in enumerate(rates):
        schedule.set_due(gid(number), number, 1.0)
        schedule.set_due(gid(number), number, rate)
    assert schedule.demand == pytest.approx(sum(rates))
    drain(schedule, len(rates))
    assert schedule.demand == pytest.approx(sum(rates)), "polls under way still count"
    for number in range(len(rates)):
        schedule.remove(gid(number))
        assert schedule.demand >= 0
    assert schedule.demand == 0


def test_nothing_is_stretched_while_the_looks_fit() -> None:
    assert stretch(0.0, 2.0, unseen=False) == 1.0
    assert stretch(2.0 * USABLE, 2.0, unseen=False) == 1.0
    assert stretch(2.0 * USABLE_WITH_UNSEEN, 2.0, unseen=True) == 1.0


@given(demand=st.floats(0, 1e4), rate=st.floats(0.01, 100), unseen=st.booleans())
def test_stretched_looks_fit_and_leave_room_for_new_ids(demand: float, rate: float, unseen: bool) -> None:
    factor = stretch(demand, rate, unseen=unseen)
    share = USABLE_WITH_UNSEEN if unseen else USABLE
    assert factor >= 1.0
    assert demand / factor <= rate * share * (1 + 1e-9)


def test_without_any_budget_nothing_is_stretched_because_nothing_is_sent() -> None:
    assert stretch(10.0, 0.0, unseen=False) == 1.0


def test_an_id_that_was_set_aside_waits_behind_all_others_but_for_one_turn_in_ten() -> None:
    schedule = Schedule()
    for number in range(100):
        schedule.set_due(gid(number), 0.0, 0.0)
    for number in range(100, 112):
        schedule.set_aside(gid(number), 0.0)
    picked = [schedule.pick(0.0) for _ in range(100)]
    assert sum(id in {gid(number) for number in range(100, 112)} for id in picked) == 100 // ASIDE_TURN


def test_an_id_that_was_set_aside_is_polled_when_it_is_due_and_nothing_else_waits() -> None:
    schedule = Schedule()
    schedule.set_aside(gid(1), 5.0)
    assert schedule.next_due() == 5.0
    assert schedule.pick(4.0) is None
    assert schedule.pick(5.0) == gid(1)
    assert schedule.next_due() is None


def test_an_id_that_was_set_aside_wants_none_of_the_budget() -> None:
    schedule = Schedule()
    schedule.set_due(gid(1), 0.0, 2.0)
    schedule.set_aside(gid(1), 5.0)
    assert schedule.demand == 0.0
    assert gid(1) in schedule
    schedule.remove(gid(1))
    assert gid(1) not in schedule
    assert schedule.next_due() is None


def test_a_probe_is_not_the_newest_of_the_ids_never_polled() -> None:
    schedule = Schedule()
    for number in range(20):
        schedule.add_unseen(gid(number), number)
    schedule.remove(gid(0))
    assert schedule.pick(0.0) == gid(19)
    probed = [schedule.pick(0.0, probe=True) for _ in range(5)]
    assert gid(18) not in probed
    assert len(set(probed)) == 5
    assert len(drain(schedule, 0.0)) == 13, "nothing is lost or picked twice"
