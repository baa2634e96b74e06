"""The demo customer's model, trained once for all tests that serve or compress it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Writes the model to a folder and the data to a file; prints the accuracy.
TRAIN = (
    "import sys; from pathlib import Path; from trimtab.cli.demo.train import write_customer_model; "
    "print(write_customer_model(Path(sys.argv[1]), Path(sys.argv[2])))"
)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that every pod may read, with model/ and digits.npz; the network tells more than 39 of 40 scans."""
    folder = tmp_path_factory.mktemp("customer")
    for parent in (folder, *folder.parents):
        if parent.stat().st_uid == os.getuid():
            parent.chmod(parent.stat().st_mode | 0o055)
    command = [sys.executable, "-c", TRAIN, str(folder / "model"), str(folder / "digits.npz")]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    assert float(done.stdout.split()[-1]) >= 0.975
    return folder
