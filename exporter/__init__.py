"""Prometheus exporter for generations submitted to the Vivix API."""
