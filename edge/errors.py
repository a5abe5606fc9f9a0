"""The two families of errors: ours (or our user's), and a neighbour's.

A `MurmurError` carries one line that says what was expected, what came, from where, and what to do;
every command prints that line and exits with code 2. A `MessageError` is a neighbour's fault: the
node counts it, logs it once per sender and goes on.
"""


class MurmurError(Exception):
    """Something the person running the command can put right."""


class BundleError(MurmurError):
    """An exported bundle that cannot be read, or that does not fit what it is used for."""


class ConfigError(MurmurError):
    """A setting, scenario or command-line value that cannot be."""


class DataError(MurmurError):
    """A data set that cannot be read, or that does not fit the model."""


class EngineError(MurmurError):
    """A batch or a parameter the engine cannot take; its parameters are as they were."""


class TransportError(MurmurError):
    """The broker is not there, refuses us, or stays silent."""


class MessageError(Exception):
    """A message that is truncated, altered, malformed or not what was agreed: dropped and counted."""


class BaseMissing(MessageError):
    """A message coded as the change since one that is not here: to be asked for whole."""


class FallbackWarning(RuntimeWarning):
    """Something works, but not as well as it could. A command prints it as one line (`edge.command.guarded`)."""
