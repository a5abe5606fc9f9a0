"""Tests that need an environment of their own are left out of every other one."""

import os

collect_ignore = [] if os.environ.get("MURMUR_ORT_TRAINING") else ["ort_training"]
