"""Who holds which rig: the records on the Nodes, parsed once per text."""

from __future__ import annotations

from switchyard.cluster import names
from switchyard.fleet import model
from switchyard.handover import record as rec
from switchyard.handover import records


class Records:
    """The record of a rig's Node. A thousand annotations are not parsed anew because one price has moved."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, rec.Record | None]] = {}

    def of(self, farm: model.Farm, rig: model.Rig) -> rec.Record | None:
        """The record; None where there is no Node, no record, or none that makes sense."""
        node = farm.nodes.get(rig.node_name)
        if node is None:
            return None
        text = node.annotations.get(names.ANNOTATION_HANDOVER)
        if text is None:
            return None
        known = self._known.get(node.name)
        if known is None or known[0] != text:
            known = self._known[node.name] = (text, records.parse(text))
        return known[1]
