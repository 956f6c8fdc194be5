"""Says what a PostgreSQL that others run lacks for this platform."""
