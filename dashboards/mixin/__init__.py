"""Dashboards and rules as code: `python -m mixin.render` writes what is committed beside it."""
