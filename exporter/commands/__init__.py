"""The commands besides `run`: check, explain, demo and simulate."""
