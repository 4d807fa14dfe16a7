"""What a new list of ids changes for one account, and the writes that this takes."""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from exporter.domain.values import AccountName, GenerationId, NewGeneration, Source
from exporter.store import Transaction
from exporter.store.transaction import CHUNK, Entered


@dataclass(frozen=True, slots=True)
class Listed:
    """Where an id is listed, with the caller's trace context where the list gives one."""

    source: Source
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Relisted:
    """What the store made of a `Relisting`: `kept` are ids among the `gone` that are followed all the same,
    because they were registered."""

    entered: Sequence[Entered]
    kept: AbstractSet[GenerationId]


@dataclass(frozen=True, slots=True)
class Relisting:
    """Ids of the `wanted` ones that are listed for the first time, by source, and ids that no longer are."""

    account: AccountName
    wanted: Mapping[GenerationId, Listed]
    new: Mapping[Source, Sequence[GenerationId]]
    gone: AbstractSet[GenerationId]

    def write(self, tx: Transaction, at_us: int) -> Relisted:
        """Enter all of it into a transaction."""
        entered = [
            tx.discover(self.account, source, list(map(self._new, ids)), at_us, listed=True)
            for source, ids in self.new.items()
        ]
        return Relisted(entered, tx.unlist(self.account, self.gone, at_us) if self.gone else frozenset())

    def parts(self) -> Iterator["Relisting"]:
        """The same in parts that are small enough for a transaction beside others."""
        for source, ids in self.new.items():
            for start in range(0, len(ids), CHUNK):
                yield replace(self, new={source: ids[start : start + CHUNK]}, gone=frozenset())
        if self.gone:
            yield replace(self, new={})

    def _new(self, id: GenerationId) -> NewGeneration:
        return NewGeneration(id, self.wanted[id].traceparent)


def relisting(
    account: AccountName,
    listed: AbstractSet[GenerationId],
    wanted: Mapping[GenerationId, Listed],
    *,
    whole: bool,
) -> Relisting:
    """What becomes of the ids `listed` so far where the `wanted` ones are; without `whole`, more may be."""
    new: dict[Source, list[GenerationId]] = {}
    for id, item in wanted.items():
        if id not in listed:
            new.setdefault(item.source, []).append(id)
    return Relisting(account, wanted, new, listed - wanted.keys() if whole else frozenset())
