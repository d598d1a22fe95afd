"""Policies to be compared: ours, driven as the operator drives it, and what people do instead."""
