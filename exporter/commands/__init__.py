"""The commands, one module each, which holds the command's options as `command` and what it does."""
