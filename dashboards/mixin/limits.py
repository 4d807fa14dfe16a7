"""What may have to fit your place, all in one: which series are meant, where good ends, over which windows.

Alerts, their texts and the lines on graphs follow. Whoever takes the YAML alone finds the same in
`rules/vivix.yaml`: the README beside it says where. Durations are Prometheus': a number and m, h or d.
"""

JOB = "vivix"
"""The job of the scrape configuration; only what the exporter does not name itself (`up`) needs it."""

SELECTOR = ""
"""Matchers for everything that is scraped, such as `cluster="eu"`, where one Prometheus has several."""

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

FAST_WINDOWS, FAST_BURN = ("1h", "5m"), 5.0
"""Failures at this multiple of the budget are worth waking somebody: in the long window, so that they matter,
and in the short one, so that they still go on."""

SLOW_WINDOWS, SLOW_BURN = ("6h", "30m"), 2.0
"""Failures at this multiple of the budget for so long are worth a check in the morning."""

TRICKLE_WINDOWS, TRICKLE_BURN = ("3d", "6h"), 1.2
"""Failures at this multiple of the budget for so long use it up without ever being loud."""

LEAST_FAILURES = 10
"""Fewer failures than this in a window are chance, not news: three at night wake nobody ..."""

LEAST_OF_ALL, NONE_WINDOW = 3, "6h"
"""... but where so many failed in this window and none came through, somebody should know."""

LEAST_ENDED = 10
"""An account is compared with others only where so many of its generations ended."""

DOMINANT_SHARE, REASON_WINDOW = 0.6, "30m"
"""A reason with this share of the failures of this window dominates them ..."""

FORMER_SHARE, FORMER_WINDOW = 0.3, "1d"
"""... and does so suddenly where it had less than this share in the rest of this longer window, or was too
rare to count."""

SLOWER_THAN_BEFORE, SLOW_WINDOW, USUAL_WINDOW = 1.5, "30m", "7d"
"""Mean duration in a window relative to that of a long one."""

LEAST_COMPLETED = 10
"""Fewer completed generations than this in either say nothing about slowness."""

STUCK_SECONDS = 1800
"""No model needs this long; the vendor says 180 s at most for a video, the queue comes on top."""

LEAST_IN_FLIGHT, STANDSTILL_WINDOW = 3, "10m"
"""Fewer generations that do not end are lost ones, not an outage; and nothing must have ended for so long."""

LOW_BALANCE = 0.10
"""Part of the cycle's grant that is left."""

EMPTY_BALANCE = 0.01
"""Part of the grant that pays for nothing any more."""

SOON_SECONDS = 6 * 3600
"""A balance that lasts no longer than this has to be topped up now."""

PACE_WINDOW, LEAST_KNOWN = "6h", "2h"
"""Over which a wallet's pace is taken that is urgent, and for how long it must be known to make an alert."""

DAY_WINDOW, LEAST_KNOWN_OF_DAY = "1d", "6h"
"""Over which a wallet's pace is taken that evens out nights, and for how long it must be known."""

LEAST_KNOWN_SECONDS = 3600
"""A wallet that is known for less time is taken for known so long: its pace is not that of some minutes."""

NOT_FOLLOWED, SPEND_WINDOW = 0.10, "1h"
"""Part of what is spent in a window that no followed generation explains; and at least
`LEAST_NOT_FOLLOWED`."""

LEAST_NOT_FOLLOWED = 100
"""Credits."""

LEAST_DROPPED, DROPPED_WINDOW = 3, "1h"
"""Ids dropped in a window for one reason."""

LOW_CALLS, CALLS_WINDOW = 0.10, "5m"
"""Part of the plan's calls a minute that is left when it was lowest in a window."""

API_ERRORS, API_WINDOW = 0.10, "15m"
"""Part of a window's calls that the API answers by an error of its own, or not at all."""

LEAST_API_ERRORS = 10
"""Fewer are chance."""

LEAST_REFUSED_CALLS = 5
"""Calls refused with 429 in such a window."""

RESTARTS, RESTARTS_WINDOW = 3, "30m"
"""Starts of one exporter in a window."""

STRETCHED = 3.0
"""Pauses between polls that are this many times longer than wanted."""

UNSEEN_MINUTES = 5
"""Minutes of all the calls allowed that first polls of new ids would take."""

MISSED_WEBHOOKS, WEBHOOKS_WINDOW = 0.10, "1h"
"""Part of a window's ends whose webhook did not come; and at least `LEAST_MISSED` of them."""

LEAST_MISSED = 5

PENDING_SPANS, SPANS_WINDOW = 100, "15m"
"""So many spans that wait all through a window are not on their way, they pile up."""

STORE_WINDOW = "5m"
"""In which a failed write to the state counts."""
