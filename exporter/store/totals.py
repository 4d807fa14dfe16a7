"""Additions to the durable totals, and to the label values that have series of their own."""

import json

from sqlalchemy import Connection, case

from exporter.domain.ledger import LARGEST, Additions, Family, spend_of
from exporter.store.schema import admissions, totals
from exporter.store.upsert import insert


def add(connection: Connection, additions: Additions) -> None:
    """Write what the facts of a transaction add."""
    amounts = [
        {
            "account": series.account,
            "family": series.family.value,
            "labels": json.dumps(series.labels),
            "cell": cell,
            "amount": min(LARGEST, amount),
        }
        for (series, cell), amount in additions.amounts.items()
    ]
    if amounts:
        statement = insert(connection, totals)
        before, more = totals.c.amount, statement.excluded.amount
        # SQLite would go on with an inexact floating-point number, PostgreSQL refuse the write.
        sum_ = case((before > LARGEST - more, LARGEST), else_=before + more)
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["account", "family", "labels", "cell"], set_={"amount": sum_}
            ),
            amounts,
        )
    levels = [
        {
            "account": account,
            "family": Family.SPEND.value,
            "labels": json.dumps(spend_of(account).labels),
            "cell": cell,
            "amount": amount,
        }
        for account, spend in additions.spend.items()
        for cell, amount in spend.cells().items()
    ]
    if levels:
        replacing = insert(connection, totals)
        connection.execute(
            replacing.on_conflict_do_update(
                index_elements=["account", "family", "labels", "cell"],
                set_={"amount": replacing.excluded.amount},
            ),
            levels,
        )
    admitted = [
        {"account": account, "label": label.value, "value": value}
        for (account, label), values in additions.admitted.items()
        for value in sorted(values)
    ]
    if admitted:
        connection.execute(insert(connection, admissions).on_conflict_do_nothing(), admitted)
