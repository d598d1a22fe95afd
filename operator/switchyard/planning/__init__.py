"""From values to a plan: which rig moves where, which job is admitted, at what price."""
