"""What every test finds: the process as it starts, and a cluster if it asks for one."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

# What is slow to import for nothing, for this process and those that it starts.
_LEAN = str(Path(__file__).parent / "plugins" / "lean")
sys.path.insert(0, _LEAN)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (_LEAN, os.environ.get("PYTHONPATH"))))

pytest_plugins = ["clusters.fixtures", "trained"]

# A loaded machine is several times slower; what a test finds out must not depend on that.
settings.register_profile("any speed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any speed")


@pytest.fixture(autouse=True)
def unconfigured_logs() -> Iterator[None]:
    """Give back what a command run inside the test process did to its logs, or the next test would not hear its own."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
