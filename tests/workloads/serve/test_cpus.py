"""The CPU limit of a control group."""

from __future__ import annotations

import os

import pytest

from trimtab.workloads.serve.cpus import available_cpus

USABLE = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        pytest.param({"cpu.max": "50000 100000\n"}, 1, id="half a CPU"),
        pytest.param({"cpu.max": "100000 100000\n"}, 1, id="one CPU"),
        pytest.param({"cpu.max": "150000 100000\n"}, min(2, USABLE), id="one and a half"),
        pytest.param({"cpu.max": "max 100000\n"}, USABLE, id="no limit"),
        pytest.param({"cpu.max": "99900000 100000\n"}, USABLE, id="more than there are"),
        pytest.param({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1, id="version 1"),
        pytest.param({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, USABLE, id="1: no limit"),
        pytest.param({}, USABLE, id="no control groups"),
        pytest.param({"cpu.max": "nonsense"}, USABLE, id="unreadable"),
    ],
)
def test_the_limit_counts_in_whole_cpus(tmp_path, files, cpus):
    """At least one, at most what the process may run on."""
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    assert available_cpus(tmp_path) == cpus
