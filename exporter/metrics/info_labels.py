"""Label values of the info metrics, which the API names: bounded for each account, whatever it names.

A value that has been shown keeps its place until the process ends, so that models and tiers that come and go
do not make ever new series.
"""

from collections.abc import Iterable

from exporter.domain.labels import OTHER, LabelLimit
from exporter.domain.ledger import Ledger
from exporter.domain.values import AccountName
from exporter.vivix.payload import Model

MAX_TIERS = 10
MAX_CATEGORIES = 10
MAX_CREATORS = 50
"""Values for each account; the API documents two tiers and three categories. Further ones are `other`."""


class InfoLabels:
    """The labels of `vivix_account_info` and `vivix_model_info`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._models = LabelLimit(ledger.max_models)
        self._tiers = LabelLimit(MAX_TIERS)
        self._categories = LabelLimit(MAX_CATEGORIES)
        self._creators = LabelLimit(MAX_CREATORS)

    def tier(self, account: AccountName, tier: str) -> str:
        """Return the label of a tier."""
        return self._tiers.fold(account, tier)

    def models(self, account: AccountName, listed: Iterable[Model]) -> list[tuple[str, str, str]]:
        """Return model, category and creator of as many `listed` models as may have series of their own: the
        ones that have some already, then others while there are places. One `other` stands for the rest, so
        that a query that joins these labels keeps what was counted there."""
        counted = set(self._ledger.known_models(account))
        # The sort is stable: among the others the API's order decides.
        candidates = sorted(listed, key=lambda model: model.slug not in counted)
        shown: list[tuple[str, str, str]] = []
        for model in candidates:
            own = model.slug in counted or (
                len(shown) < self._ledger.max_models and self._models.fold(account, model.slug) != OTHER
            )
            if own:
                category = self._categories.fold(account, model.category)
                shown.append((model.slug, category, self._creators.fold(account, model.creator)))
        if len(shown) < len(candidates):
            shown.append((OTHER, OTHER, OTHER))
        return shown
