"""Removes from the bucket what the homeserver has deleted."""
