"""The one cycle: snapshot, plan, hand-over, commands, executor. Two clocks drive it, and no others."""
