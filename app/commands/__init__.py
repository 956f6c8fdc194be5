"""The commands: one module each. What takes time to load is imported by the command that needs it, so that `--help` answers at once."""
