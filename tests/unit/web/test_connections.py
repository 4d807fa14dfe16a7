"""Which connection goes when there are too many."""

from exporter.web.connections import Connections


class One:
    def __init__(self) -> None:
        self.evicted = False

    def evict(self) -> None:
        self.evicted = True


def filled(limit: int) -> tuple[Connections, list[One]]:
    connections, some = Connections(limit), [One() for _ in range(limit)]
    assert all([connections.admit(one) for one in some])
    return connections, some


def test_the_one_that_has_waited_longest_goes() -> None:
    connections, some = filled(3)
    connections.mark_busy(some[0])
    assert connections.admit(One())
    assert [one.evicted for one in some] == [False, True, False]
    assert (len(connections), connections.busy) == (3, 1)


def test_one_whose_answer_is_sent_waits_behind_the_others_again() -> None:
    connections, some = filled(3)
    connections.mark_busy(some[0])
    connections.mark_waiting(some[0])
    for _ in range(2):
        assert connections.admit(One())
    assert [one.evicted for one in some] == [False, True, True]


def test_where_all_are_busy_one_that_does_not_read_its_answer_goes() -> None:
    connections, some = filled(3)
    for one in some:
        connections.mark_busy(one)
    connections.mark_unread(some[1], unread=True)
    connections.mark_unread(some[2], unread=True)
    connections.mark_unread(some[1], unread=False)
    assert connections.admit(One())
    assert [one.evicted for one in some] == [False, False, True]


def test_where_all_are_busy_and_read_a_newer_one_is_not_admitted() -> None:
    connections, some = filled(2)
    for one in some:
        connections.mark_busy(one)
    late = One()
    assert not connections.admit(late)
    connections.mark_waiting(late)
    connections.mark_unread(late, unread=True)
    assert not connections.admit(One())
    assert not any(one.evicted for one in (*some, late))


def test_one_that_is_closed_leaves_its_place() -> None:
    connections, some = filled(2)
    connections.remove(some[0])
    assert not connections.is_full
    assert connections.admit(One())
    assert not some[1].evicted
