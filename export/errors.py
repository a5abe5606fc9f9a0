"""What the exporter cannot do, said in one line."""

from edge.errors import MurmurError


class ExportError(MurmurError):
    """A model that cannot be turned into a training step: names the node, the reason and the way out."""
