"""The farm as frozen values, and the live store behind its snapshots."""
