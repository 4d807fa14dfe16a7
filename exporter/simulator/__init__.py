"""Simulated Vivix API: seeded and reproducible, with a truth to compare the exporter against.

It is written from the vendor's documentation and shares no rule with the exporter, so that agreement between
the two means something.
"""
