"""`/metrics`: the table of families, what fills it, and exemplars."""
