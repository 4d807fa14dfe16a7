"""HTTP served by the exporter: server, pages, JSON API and webhooks."""
