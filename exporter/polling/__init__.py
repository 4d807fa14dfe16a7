"""When to poll and what an answer leads to: the loop of one account and the pure rules that it applies."""
