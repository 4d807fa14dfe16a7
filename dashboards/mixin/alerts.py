"""The alerts as a table. Each can be acted on; its runbook says how.

Windows are counted in growth and seconds are compared with seconds, so that nothing but the durations changes
where a test lets time run faster. Labels that people route by stay; `instance` only where a process is meant.
"""

from mixin.alerts_exporter import EXPORTERS
from mixin.alerts_generations import GENERATIONS
from mixin.alerts_wallet import WALLET

ALERTS = (*GENERATIONS, *WALLET, *EXPORTERS)
