"""The state that survives: generations, totals, the log of observations and the outbox of spans."""

from exporter.store.database import Database
from exporter.store.opening import open_database
from exporter.store.store import Store
from exporter.store.transaction import Transaction

__all__ = ["Database", "Store", "Transaction", "open_database"]
