"""Starts a process of Synapse as soon as it can run, and again when the list of writers has changed."""
