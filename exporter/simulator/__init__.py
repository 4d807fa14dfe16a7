"""The vendor's API, simulated: seeded, reproducible, with a truth to compare the exporter against.

It knows the vendor's documentation and nothing of the exporter's rules, so that agreement between the two
means something.
"""
