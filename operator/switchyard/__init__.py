"""Switchyard keeps every rig of a GPU farm on whatever earns most after power."""

from typing import Final

__version__: Final = "0.1.0"
