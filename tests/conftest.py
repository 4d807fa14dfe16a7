"""What holds for every test."""

import os

from hypothesis import HealthCheck, settings

# How fast the machine is says nothing about the code.
settings.register_profile("project", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("project")

# Whoever runs the tests may have a collector of their own, which is not to hear of them.
for name in [name for name in os.environ if name.startswith("OTEL_")]:
    del os.environ[name]
