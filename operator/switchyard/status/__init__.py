"""What people are told: conditions, events, printed decisions."""
