"""Makes the state tables of the homeserver smaller: see README.md."""
