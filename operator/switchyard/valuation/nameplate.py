"""Watts of a GPU where neither the pool's power profiles nor a measurement say.

Working watts are the board power that the vendors print on their data sheets: what a card draws at most with stock
limits, so AI work is never valued too well. Resting watts are a round figure for a card without a display and with no
process on it: 10 W for boards up to 225 W, 15 W above. A profile in the GPUPool always wins over this table.
"""

from __future__ import annotations

import functools
from typing import Final

from switchyard.fleet import model

UNKNOWN: Final = model.PowerProfile(ai_watts=250, idle_watts=15)
"""For models that are not in the table: a large card, so that nothing is moved on an optimistic guess."""

_BOARD_WATTS: Final = {
    "gtx 1060": 120,
    "gtx 1070": 150,
    "gtx 1070 ti": 180,
    "gtx 1080": 180,
    "gtx 1080 ti": 250,
    "gtx 1650": 75,
    "gtx 1650 super": 100,
    "gtx 1660": 120,
    "gtx 1660 super": 125,
    "gtx 1660 ti": 120,
    "rtx 2060": 160,
    "rtx 2060 super": 175,
    "rtx 2070": 175,
    "rtx 2070 super": 215,
    "rtx 2080": 215,
    "rtx 2080 super": 250,
    "rtx 2080 ti": 250,
    "rtx 3050": 130,
    "rtx 3060": 170,
    "rtx 3060 ti": 200,
    "rtx 3070": 220,
    "rtx 3070 ti": 290,
    "rtx 3080": 320,
    "rtx 3080 ti": 350,
    "rtx 3090": 350,
    "rtx 3090 ti": 450,
    "rtx 4060": 115,
    "rtx 4060 ti": 165,
    "rtx 4070": 200,
    "rtx 4070 super": 220,
    "rtx 4070 ti": 285,
    "rtx 4070 ti super": 285,
    "rtx 4080": 320,
    "rtx 4080 super": 320,
    "rtx 4090": 450,
    "rtx 5060 ti": 180,
    "rtx 5070": 250,
    "rtx 5070 ti": 300,
    "rtx 5080": 360,
    "rtx 5090": 575,
    "rtx a2000": 70,
    "rtx a4000": 140,
    "rtx a5000": 230,
    "rtx a6000": 300,
    "t4": 70,
    "tesla t4": 70,
    "l4": 72,
    "l40s": 350,
    "a10": 150,
    "cmp 30hx": 125,
    "cmp 40hx": 185,
    "cmp 50hx": 250,
    "cmp 90hx": 320,
    "cmp 170hx": 250,
    "p104 100": 180,
    "p106 100": 120,
    "radeon rx 580": 185,
    "radeon rx 6800": 250,
}


@functools.lru_cache(maxsize=1024)
def common_name(gpu_model: str) -> str:
    """The name without vendor, brand and separators: `NVIDIA-GeForce-RTX-3070` and `RTX 3070` are both `rtx 3070`."""
    words = gpu_model.lower().replace("-", " ").replace("_", " ").split()
    return " ".join(word for word in words if word not in ("nvidia", "geforce", "amd"))


@functools.lru_cache(maxsize=1024)
def profile(gpu_model: str) -> model.PowerProfile:
    """Watts of a GPU model at work and at rest by the table; `UNKNOWN` where it is not in it."""
    name = common_name(gpu_model)
    board = _BOARD_WATTS.get(name)
    if board is None:
        # Names of boards carry their memory behind the model: "RTX 3080 12GB", "Tesla T4 16GB".
        board = _BOARD_WATTS.get(name.rpartition(" ")[0])
    if board is None:
        return UNKNOWN
    return model.PowerProfile(ai_watts=board, idle_watts=10 if board <= 225 else 15)
