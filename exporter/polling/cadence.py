"""When to look at a generation next: the schedule that detects its end with the fewest looks.

With hazard rate h(t), the schedule that minimises the mean delay for a given number of looks has density
n(t) = c sqrt(h(t)) (Keller, Optimum checking schedules for systems subject to random failure, Management
Science 21, 1974; Barlow, Hunter and Proschan, 1963). A look every 1/n(t) s finds an end after 1/(2 n(t)) s
on average, so c = E[h(T)^-1/2] / (2 lag) makes the mean delay the lag aimed at.
"""

from exporter.polling.hazard import Hazard

NET_SHARE = 0.97
"""Share of a model's generations that have ended before the safety net behind webhooks looks."""
NET_EARLIEST, NET_LATEST = 300.0, 1800.0
"""Seconds of age between which it looks first: a delivery may come late, and the net is to be rare; yet a
lost one should not go unnoticed for hours where little is known of a model."""


class Cadence:
    """The learnt schedules of one account's models. Everything is in seconds."""

    def __init__(self, target_lag: float, min_interval: float, max_interval: float, max_models: int) -> None:
        """At most `max_models` models are learnt each by itself; further ones are learnt together."""
        self.aim(target_lag, min_interval, max_interval)
        self._max_models = max_models
        self._hazards: dict[str, Hazard] = {}
        self._others = Hazard()
        self._categories: dict[str, str] = {}

    def aim(self, target_lag: float, min_interval: float, max_interval: float) -> None:
        """Change what is aimed at; what was learnt stays."""
        self._target_lag = target_lag
        self._min_interval = min_interval
        self.max_interval = max_interval

    def interval(self, model: str | None, age: float) -> float:
        """The pause until the next look at a generation of this model and age, before any stretching for
        the budget: where the integral of n(t) has grown by one."""
        hazard = self._hazard(model)
        density = hazard.mean_inverse_sqrt() / (2 * self._target_lag)
        next_look = hazard.age_at(hazard.sqrt_integral(age) + 1 / density)
        return min(max(next_look - age, self._min_interval), self.max_interval)

    def net(self, model: str | None, age: float) -> float:
        """The pause until a safety net looks, where ends are pushed: late enough for it to be rare, and later
        each time, since who is still in flight then will be for as long again."""
        usual = self._hazard(model).age_of_share(NET_SHARE)
        return max(min(max(NET_EARLIEST, 2 * usual), NET_LATEST), 2 * age) - age

    def learn(self, model: str | None, duration: float) -> None:
        """A generation of this model took this long from its creation to its end."""
        self._hazard(model).learn(duration)

    def set_category(self, model: str, category: str) -> None:
        """The API lists this model as of this category."""
        if self._categories.get(model) != category:
            self._categories[model] = category
            if model in self._hazards:
                self._hazards[model].set_category(category)

    def _hazard(self, model: str | None) -> Hazard:
        if model is None:
            return self._others
        if model not in self._hazards:
            if len(self._hazards) >= self._max_models:
                return self._others
            self._hazards[model] = Hazard(self._categories.get(model))
        return self._hazards[model]
