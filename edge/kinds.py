"""The kinds of message there are: those of the protocols here, and those that a protocol from elsewhere declares."""

import re

from edge.errors import ConfigError
from edge.interfaces import MessageKind, PrivacyClass

SOFT_LABELS = MessageKind("soft-labels", 1, PrivacyClass.DISTRIBUTION, "delta:3")
"""distributions on reference samples: (R, K), of several heads one below the other"""
WEIGHTS = MessageKind("weights", 2, PrivacyClass.WEIGHTS)
"""all parameters: (1, P)"""
CLASS_OUTPUTS = MessageKind("class-outputs", 3, PrivacyClass.DISTRIBUTION)
"""mean outputs by label: (K, K); a row of zeros for a label nobody has"""
FEATURES = MessageKind("features", 4, PrivacyClass.FEATURES)
"""embeddings of samples: (n, F)"""
LOGITS = MessageKind("logits", 5, PrivacyClass.FEATURES)
"""of samples: (n, K)"""
LABELS = MessageKind("labels", 6, PrivacyClass.OPAQUE_CODES, "integer8", fixed=True)
"""of samples: (n, 1)"""
SAMPLES = MessageKind("samples", 7, PrivacyClass.RAW_SAMPLES)
"""inputs and what is known of them: (n, ...)"""
MASS = MessageKind("mass", 8, PrivacyClass.STATISTIC, fixed=True)
"""running sums of push-sum: (R + 1, K)"""
STATUS = MessageKind("status", 9, PrivacyClass.STATISTIC, fixed=True)
"""a device to its centre: (1, a few numbers)"""
VERDICT = MessageKind("verdict", 10, PrivacyClass.STATISTIC, fixed=True)
"""a centre to its device: (1, 1)"""
OUTCOME = MessageKind("outcome", 11, PrivacyClass.STATISTIC, fixed=True)
"""a centre to its device, with weights: (1, 1)"""
CODES = MessageKind("codes", 12, PrivacyClass.OPAQUE_CODES, "deflate8", fixed=True)
"""integer codes of soft labels, or their change: (R, K)"""
PROXIES = MessageKind("proxies", 13, PrivacyClass.STATISTIC, fixed=True)
"""numbers of proxy states and the policy there: (n, 1 + actions)"""
OUTPUTS = MessageKind("outputs", 17, PrivacyClass.PREDICTION, "range:8")
"""outputs on reference samples that are no distributions, of a regression or a multi-label model: (R, K)"""

_declared = {
    kind.name: kind
    for kind in (
        *(SOFT_LABELS, WEIGHTS, CLASS_OUTPUTS, FEATURES, LOGITS, LABELS, SAMPLES),
        *(MASS, STATUS, VERDICT, OUTCOME, CODES, PROXIES, OUTPUTS),
    )
}
_numbered = {kind.number: kind for kind in _declared.values()}
_NAME = re.compile(r"[a-z][a-z0-9-]{0,63}")
RESERVED = "again"
"""the topic of a request, which is no kind"""


def declare(kind: MessageKind) -> None:
    """Make a kind known to this process. Raises ConfigError: its name or number is another kind's, or impossible."""
    if not _NAME.fullmatch(kind.name) or kind.name == RESERVED:
        raise ConfigError(f"message kind '{kind.name}': a name is lower-case letters, digits and '-', not '{RESERVED}'")
    if not 1 <= kind.number <= 255:
        raise ConfigError(f"message kind '{kind.name}': number {kind.number} does not fit the header; use 1 to 255")
    for other in _declared.values():
        if other != kind and (other.name == kind.name or other.number == kind.number):
            raise ConfigError(
                f"message kind '{kind.name}' ({kind.number}) is already declared otherwise: '{other.name}' "
                f"({other.number}); choose another name and number"
            )
    _declared[kind.name] = _numbered[kind.number] = kind


def declared() -> dict[str, MessageKind]:
    """By name."""
    return dict(_declared)


def numbered(number: int) -> MessageKind | None:
    """The kind of that number in the header, if one is declared."""
    return _numbered.get(number)


def find(name: str) -> MessageKind | None:
    """The kind of that name, if one is declared."""
    return _declared.get(name)
