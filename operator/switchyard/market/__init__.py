"""What things are worth now: quotes with age and trust, from sources that may fail."""
