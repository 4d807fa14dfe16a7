"""Accounts of the simulated vendor and the limits of their plans."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Tier = Literal["pro", "ultimate"]


@dataclass(frozen=True, slots=True)
class Plan:
    """Limits of a tier: calls per minute of every kind, and generations rendering at once."""

    calls_per_minute: int
    concurrent_jobs: int


PLANS: Mapping[Tier, Plan] = MappingProxyType({"pro": Plan(240, 5), "ultimate": Plan(600, 20)})
"""The limits the vendor publishes."""


@dataclass(frozen=True, slots=True)
class SimulatedAccount:
    """One wallet and its first key; the wallet is granted `granted` credits each cycle."""

    name: str
    key: str
    tier: Tier = "pro"
    granted: int = 1_000_000

    @property
    def plan(self) -> Plan:
        return PLANS[self.tier]
