"""What every test finds: the process as it starts, and a cluster if it asks for one."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog

pytest_plugins = ["clusters.fixtures"]


@pytest.fixture(autouse=True)
def unconfigured_logs() -> Iterator[None]:
    """Give back what a command run inside the test process did to its logs, or the next test would not hear its own."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
