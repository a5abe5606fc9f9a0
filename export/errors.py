"""What the exporter cannot do, as one line each."""

from edge.errors import MurmurError


class ExportError(MurmurError):
    """A model that cannot be turned into a training step. The message names the node, the reason and the way out."""
