"""The JSON API over HTTP: registration of ids, and what is known of them. `openapi.yaml` describes it."""

from exporter.web.api.routes import Api

__all__ = ["Api"]
