"""What each mode is worth on each rig, in $/h; why not; and what moving costs."""
