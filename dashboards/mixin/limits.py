"""Where good ends: the numbers that alerts fire at and dashboards draw a line at, so that both agree."""

FAILURE_BUDGET = 0.10
"""The part of the generations that may fail over 30 days before it is nobody's plan any more."""

FAST_BURN = 5.0
"""Failures at this multiple of the budget for an hour are worth waking somebody."""

SLOW_BURN = 2.0
"""Failures at this multiple of the budget for six hours are worth a check in the morning."""

LEAST_FAILURES = 10
"""Fewer failures than this in a window are chance, not news: three at night wake nobody."""

DOMINANT_SHARE = 0.6
"""A reason with this share of the failures dominates them ..."""

FORMER_SHARE = 0.3
"""... and does so suddenly where it had less than this share the day before."""

SLOWER_THAN_BEFORE = 1.5
"""Mean duration relative to that of the day before."""

LEAST_COMPLETED = 10
"""Fewer completed generations than this in half an hour say nothing about slowness."""

STUCK_SECONDS = 1800
"""No model needs this long; the vendor says 180 s at most for a video, the queue comes on top."""

LOW_BALANCE = 0.10
"""Part of the cycle's grant that is left."""

SOON_SECONDS = 6 * 3600
"""A balance that lasts no longer than this has to be topped up now."""

LOW_CALLS = 0.10
"""Part of the plan's calls a minute that is left at the end of each minute."""

STRETCHED = 3.0
"""Pauses between polls that are this many times longer than wanted."""

UNSEEN_MINUTES = 5
"""Minutes of all the calls allowed that first polls of new ids would take."""

MISSED_WEBHOOKS = 0.10
"""Part of the ends whose webhook did not come; and at least `LEAST_MISSED` of them in an hour."""

LEAST_MISSED = 5

PENDING_SPANS = 100
"""Spans that have not left for this long are not on their way, they pile up."""
