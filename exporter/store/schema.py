"""Today's tables. Nothing outside `exporter.store` sees a column."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    TextClause,
    literal_column,
    text,
)

from exporter.domain.values import Phase

metadata = MetaData()

TRANSIENT = "transient"
"""In a table's `info`: what it holds means nothing in another database."""

meta = Table("meta", metadata, Column("key", Text, primary_key=True), Column("value", Text, nullable=False))

generations = Table(
    "generations",
    metadata,
    Column("account", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("discovered_us", BigInteger, nullable=False),
    # Still named by the configuration or a file: never forgotten, or it would be discovered and counted anew.
    Column("listed", Boolean, nullable=False),
    # Entered for good, by registration or a webhook: followed whatever the configuration lists.
    Column("registered", Boolean, nullable=False),
    Column("traceparent", Text),
    Column("status", Text),
    Column("model", Text),
    Column("created_us", BigInteger),
    Column("credits_estimate_micro", BigInteger),
    Column("observed_us", BigInteger),
    Column("pending_us", BigInteger),
    Column("processing_us", BigInteger),
    Column("processing_uncertainty_us", BigInteger),
    Column("polls", Integer, nullable=False),
    # When following ended, by an end or a drop.
    Column("closed_us", BigInteger),
    Column("drop_reason", Text),
    Column("drop_us", BigInteger),
    Column("end_us", BigInteger),
    Column("end_recorded_us", BigInteger),
    Column("end_via", Text),
    Column("end_duration_us", BigInteger),
    Column("end_credits_used_micro", BigInteger),
    Column("end_outputs", Integer),
    Column("end_reason", Text),
    Column("end_message", Text),
    # When the configuration and its files ceased to name it; None while they do, or where they never did.
    Column("unlisted_us", BigInteger),
    # When it was last registered again after a drop, which is in the totals: a second one must not be.
    Column("reopened_us", BigInteger),
    PrimaryKeyConstraint("account", "id"),
)
Index("generations_by_account", generations.c.account, generations.c.closed_us)
PHASE: ColumnElement[str] = literal_column(
    "(CASE WHEN drop_reason IS NOT NULL AND end_recorded_us IS NULL THEN 'dropped' "
    "WHEN status IS NULL THEN 'unseen' ELSE status END)",
    Text,
)
"""`Generation.phase` of a row, in the words of the indexes: neither database would know it by others."""


def in_phase(phase: Phase, column: ColumnElement[str] = PHASE) -> ColumnElement[bool]:
    """Return the condition that `Generation.phase`, which is in `column`, is this one."""
    return column.bool_op("=")(phase.value)


REASON: ColumnElement[str] = literal_column(
    "(CASE WHEN end_recorded_us IS NULL THEN drop_reason ELSE end_reason END)", Text
)
"""Why a row's generation failed or was dropped; NULL where neither holds."""


def unindexed(column: ColumnElement[str]) -> ColumnElement[str]:
    """Return the same values as no column, so that SQLite takes none of its indexes, which it would prefer to
    one that has far fewer rows."""
    return column.concat(literal_column("''"))


FAILED = text("status = 'failed'")
"""The rows that are in the index of failures, likewise."""
_partial: dict[Index, ColumnElement[bool] | TextClause] = {}
"""Indexes of the rows alone for which a condition holds: what is registered in thousands is not in them."""
# What was seen to end since some time, by account and status, is counted without the rows themselves. Here is
# also found what has not ended.
Index(
    "generations_by_close",
    *(generations.c[name] for name in ("closed_us", "account", "status", "end_recorded_us")),
    generations.c.end_credits_used_micro,
)
_failed = Index(
    "generations_failed",
    *(generations.c[name] for name in ("closed_us", "account", "end_reason", "model")),
)
_partial[_failed] = FAILED
# One for each filter of a list together with a phase; without one, the lists of all phases are merged.
for _filter in ((), ("account",), ("model",), ("account", "model")):
    _place = [name for name in ("discovered_us", "account", "id") if name not in _filter]
    _by_filter = Index(
        "_".join(("generations_by", *_filter, "phase")),
        *(generations.c[name] for name in _filter),
        PHASE,
        *(generations.c[name] for name in _place),
    )
    if "model" in _filter:
        _partial[_by_filter] = generations.c.model.is_not(None)
_by_reason = Index(
    "generations_by_reason",
    REASON,
    *(generations.c[name] for name in ("discovered_us", "account", "id", "model")),
)
_partial[_by_reason] = REASON.is_not(None)
Index("generations_by_discovery", generations.c.discovered_us, generations.c.account, generations.c.id)

observations = Table(
    "observations",
    metadata,
    Column("account", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("source", Text, nullable=False),
    Column("said", Text, nullable=False),
    Column("counted", Text, nullable=False),
)
Index("observations_generation", observations.c.account, observations.c.id)

totals = Table(
    "totals",
    metadata,
    Column("account", Text, nullable=False),
    Column("family", Text, nullable=False),
    Column("labels", Text, nullable=False),
    Column("cell", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    PrimaryKeyConstraint("account", "family", "labels", "cell"),
)

# The label values that have a series of their own; see `domain.labels`.
admissions = Table(
    "admissions",
    metadata,
    Column("account", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("value", Text, nullable=False),
    PrimaryKeyConstraint("account", "label", "value"),
)

# Calls that were about to be made: what a restarted exporter must assume of the one before it.
reservations = Table(
    "reservations",
    metadata,
    Column("account", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("calls", Integer, nullable=False),
)
Index("reservations_by_account", reservations.c.account, reservations.c.at_us)

outbox = Table(
    "outbox",
    metadata,
    Column("account", Text, nullable=False),
    Column("id", Text, nullable=False),
    # The end, by which spans are exported. Negative where the receiver refused them: the time before which
    # they are not retried, with its sign changed, so that one index serves both and neither is in the
    # other's way, however many there are.
    Column("due_us", BigInteger, nullable=False),
    # A JSON list, only where capturing them is configured, and only until the spans have arrived.
    Column("output_urls", Text),
    PrimaryKeyConstraint("account", "id"),
)
Index("outbox_by_end", outbox.c.due_us, outbox.c.account, outbox.c.id)

# Replicas that share the state, none on SQLite. Alive until `expires_us`, by the database's clock.
replicas = Table(
    "replicas",
    metadata,
    Column("id", Text, primary_key=True),
    Column("expires_us", BigInteger, nullable=False),
    # How the accounts that it owns stand with the API at present, as JSON: for the others to show. In its own
    # row, which nobody else writes, so that no replica waits for one that stopped within a transaction.
    Column("told", Text),
    info={TRANSIENT: True},
)

# Which replica owns an account, '' or '-' where none does. Each change of the holder raises the epoch, each
# transaction that the holder writes for the account raises `writes`.
leases = Table(
    "leases",
    metadata,
    Column("account", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("writes", BigInteger, nullable=False),
    info={TRANSIENT: True},
)

# What one replica has acknowledged and the owner of the account is to apply.
inbox = Table(
    "inbox",
    metadata,
    Column("account", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("token", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("body", Text, nullable=False),
    PrimaryKeyConstraint("account", "at_us", "token"),
)


def tables_for(dialect: str) -> MetaData:
    """Return the tables, with all that is needed to create them with a dialect of this name."""
    # Not above: SQLAlchemy loads every dialect that is named, and that of PostgreSQL takes 3 MiB.
    for index, condition in _partial.items():
        index.dialect_kwargs[f"{dialect}_where"] = condition
    return metadata
