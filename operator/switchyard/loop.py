"""The one cycle: snapshot, plan, hand-over, commands, executor."""
