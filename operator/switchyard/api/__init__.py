"""What people write: one module per kind, CEL rules beside the fields they guard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from switchyard.api import aijob, base, coin, gpupool, pricefeed, rig, site

KINDS: Final[Mapping[str, type[base.Resource]]] = {
    kind.names.plural: kind
    for kind in (site.Site, rig.Rig, gpupool.GPUPool, coin.Coin, pricefeed.PriceFeed, aijob.AIJob)
}
"""All kinds by their plural names, as in `sites`."""
