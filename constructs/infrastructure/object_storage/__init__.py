"""Object storage: one interface, two backends."""
