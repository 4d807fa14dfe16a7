"""When to poll a generation next: the schedule that detects its end with the fewest polls.

With hazard rate h(t), the schedule that minimises the mean delay for a given number of polls has density
n(t) = c sqrt(h(t)) (Keller, Optimum checking schedules for systems subject to random failure, Management
Science 21, 1974; Barlow, Hunter and Proschan, 1963). A poll every 1/n(t) s finds an end after 1/(2 n(t)) s
on average, so c = E[h(T)^-1/2] / (2 lag) makes the mean delay the target lag.
"""

from exporter.polling.hazard import Hazard

NET_SHARE = 0.95
"""Share of a model's generations that have ended before the safety net behind webhooks polls one."""
DELIVERY = 20.0
"""Seconds that a delivery may take, the vendor's further attempts included, before the net polls."""
NET_BACKOFF = 2.0
"""The age at the net's next poll, in ages at the last one."""


class Cadence:
    """The learnt schedules of one account's models. Everything is in seconds."""

    def __init__(self, target_lag: float, min_interval: float, max_interval: float, max_models: int) -> None:
        """Learn at most `max_models` models each by itself, further ones together."""
        self.aim(target_lag, min_interval, max_interval)
        self._max_models = max_models
        self._hazards: dict[str, Hazard] = {}
        self._others = Hazard()
        self._all = Hazard()
        self._categories: dict[str, str] = {}

    def aim(self, target_lag: float, min_interval: float, max_interval: float) -> None:
        """Change the aims; what was learnt stays."""
        self._target_lag = target_lag
        self._min_interval = min_interval
        self.max_interval = max_interval

    def interval(self, model: str | None, age: float) -> float:
        """Return the pause until the next poll of a generation of this model and age, before any stretching
        for the budget: until the integral of n(t) has grown by one."""
        hazard = self._hazard(model)
        density = hazard.mean_inverse_sqrt() / (2 * self._target_lag)
        next_poll = hazard.age_at(hazard.sqrt_integral(age) + 1 / density)
        return min(max(next_poll - age, self._min_interval), self.max_interval)

    def net_age(self, model: str | None, polled_age: float) -> float:
        """Return the age at which the safety net polls a generation that was still in flight at `polled_age`,
        where webhooks report ends: once all but a few of its model's have ended and been delivered, later
        NET_BACKOFF times as late each time.

        So a lost delivery is found by that age, or at twice the generation's own duration.
        """
        return max(self._hazard(model).age_of_share(NET_SHARE) + DELIVERY, NET_BACKOFF * polled_age)

    def learn(self, model: str | None, duration: float) -> None:
        """Learn that a generation of this model took this long from its creation to its end."""
        self._all.learn(duration)
        if model is not None:
            self._hazard(model).learn(duration)

    def set_category(self, model: str, category: str) -> None:
        """Note the category that the API lists this model under."""
        if self._categories.get(model) != category:
            self._categories[model] = category
            if model in self._hazards:
                self._hazards[model].set_category(category)

    def _hazard(self, model: str | None) -> Hazard:
        if model is None:
            return self._all
        if model not in self._hazards:
            if len(self._hazards) >= self._max_models:
                return self._others
            self._hazards[model] = Hazard(self._categories.get(model))
        return self._hazards[model]
