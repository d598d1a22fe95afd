"""The switch as a state machine: (record, observation, now) -> (record, commands)."""
