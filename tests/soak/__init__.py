"""Many simulated hours of one exporter under every kind of trouble, compared with the simulator's truth."""
