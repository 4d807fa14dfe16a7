"""The commands, one module each, and `usage`, which says how they are called."""
