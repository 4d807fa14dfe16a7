"""The web configuration file, as Prometheus' exporter-toolkit defines it: TLS, users, headers, rate limit."""
