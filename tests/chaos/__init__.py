"""What the field does to a fleet, done on purpose. MURMUR_CHAOS=long (make chaos) does much more of it."""

import os

LONG = os.environ.get("MURMUR_CHAOS") == "long"
