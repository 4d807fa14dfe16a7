"""Values and rules of the domain: pure, importing nothing else of the exporter."""
