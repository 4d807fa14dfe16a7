"""The vendor: its API, its payloads and its signature."""
