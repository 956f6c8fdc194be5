"""What each listener serves."""
