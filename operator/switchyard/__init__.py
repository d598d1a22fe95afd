"""Switchyard keeps every rig of a GPU farm on whatever earns most after power."""
