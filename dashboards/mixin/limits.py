"""What may have to fit your place, all in one: which series are meant, where good ends, over which windows.

Alerts and the lines on graphs follow. Whoever takes the YAML alone finds the same in `rules/vivix.yaml`: the
README beside it says where.
"""

JOB = "vivix"
"""The job of the scrape configuration; only what the exporter does not name itself (`up`) needs it."""

SELECTOR = ""
"""Matchers for every metric of the exporter, such as `cluster="eu"`, where one Prometheus has several."""

INSTANCE_LABELS = ("instance", "pod")
"""Labels that change when an account moves from one process to another; every other label is kept."""

CALLERS_REASONS = ("CONTENT_POLICY", "INVALID_INPUT")
"""Failures that are the doing of whoever submitted: they wake nobody."""

WALLETS_REASONS = ("INSUFFICIENT_CREDITS",)
"""Failures for want of credits."""

GAP = "5m"
"""As long as this a value may be old: a rollout's pause between two processes."""

AWAY = "1h"
"""An exporter that was away for longer counts as new: what it counted before is not news."""

KEEP_FIRING = "10m"
"""How long an alert goes on after its condition has passed, so that what comes and goes is one alert."""

FAILURE_BUDGET = 0.10
"""The part of the generations that may fail over 30 days before it is nobody's plan any more."""

FAST_BURN = 5.0
"""Failures at this multiple of the budget for an hour are worth waking somebody."""

SLOW_BURN = 2.0
"""Failures at this multiple of the budget for six hours are worth a check in the morning."""

TRICKLE_BURN = 1.2
"""Failures at this multiple of the budget for three days use it up without ever being loud."""

LEAST_FAILURES = 10
"""Fewer failures than this in a window are chance, not news: three at night wake nobody ..."""

LEAST_OF_ALL = 3
"""... but where so many failed in six hours and none came through, somebody should know."""

LEAST_ENDED = 10
"""An account is compared with others only where so many of its generations ended."""

DOMINANT_SHARE = 0.6
"""A reason with this share of the failures dominates them ..."""

FORMER_SHARE = 0.3
"""... and does so suddenly where it had less than this share the day before, or was too rare to count."""

SLOWER_THAN_BEFORE = 1.5
"""Mean duration relative to that of the week before."""

LEAST_COMPLETED = 10
"""Fewer completed generations than this in half an hour say nothing about slowness."""

STUCK_SECONDS = 1800
"""No model needs this long; the vendor says 180 s at most for a video, the queue comes on top."""

LEAST_IN_FLIGHT = 3
"""Fewer generations that do not end are lost ones, not an outage."""

LOW_BALANCE = 0.10
"""Part of the cycle's grant that is left."""

EMPTY_BALANCE = 0.01
"""Part of the grant that pays for nothing any more."""

SOON_SECONDS = 6 * 3600
"""A balance that lasts no longer than this has to be topped up now."""

LEAST_KNOWN_SECONDS = 3600
"""A wallet that is known for less time is taken for known so long: its pace is not that of some minutes."""

NOT_FOLLOWED = 0.10
"""Part of an hour's spending that no followed generation explains; and at least `LEAST_NOT_FOLLOWED`."""

LEAST_NOT_FOLLOWED = 100
"""Credits."""

LEAST_DROPPED = 3
"""Ids dropped in an hour for one reason."""

LOW_CALLS = 0.10
"""Part of the plan's calls a minute that is left at the end of each minute."""

API_ERRORS = 0.10
"""Part of a quarter of an hour's calls that the API answers by an error of its own, or not at all."""

LEAST_API_ERRORS = 10

LEAST_REFUSED_CALLS = 5
"""Calls refused with 429 in a quarter of an hour."""

RESTARTS = 3
"""Starts of one exporter in half an hour."""

STRETCHED = 3.0
"""Pauses between polls that are this many times longer than wanted."""

UNSEEN_MINUTES = 5
"""Minutes of all the calls allowed that first polls of new ids would take."""

MISSED_WEBHOOKS = 0.10
"""Part of the ends whose webhook did not come; and at least `LEAST_MISSED` of them in an hour."""

LEAST_MISSED = 5

PENDING_SPANS = 100
"""Spans that have not left for this long are not on their way, they pile up."""
