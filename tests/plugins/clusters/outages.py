"""An embedded cluster whose API server can be taken away; kubelets and Services work on, as they do without a real one.

    python outages.py FOLDER

says `ready`, and then, for each line `down` or `up` on its standard input, `down` or `up` when it is so.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from clusters.ownprocess import own_process

from trimtab.cli import logs
from trimtab.cli.images import local_images
from trimtab.local.cluster import ClusterConfig, EmbeddedCluster


class ClusterWithOutages:
    """The running cluster."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.kubeconfig = folder / "kubeconfig"
        self._process = process
        self._log = folder / "cluster.log"

    def until(self, word: str) -> None:
        """Return when the cluster says so."""
        assert self._process.stdout is not None
        said = self._process.stdout.readline().decode().strip()
        assert said == word, self._log.read_text()[-4000:]

    def take_the_api_away(self) -> None:
        """Refuse connections, and break off those that there are."""
        self._tell("down")

    def give_the_api_back(self) -> None:
        self._tell("up")

    def _tell(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())
        self._process.stdin.flush()
        self.until(word)


@contextlib.contextmanager
def cluster_with_outages(folder: Path) -> Iterator[ClusterWithOutages]:
    """Run one in a process of its own."""
    with own_process([__file__, str(folder)], folder / "cluster.log", ends_within_s=30) as process:
        cluster = ClusterWithOutages(process, folder)
        cluster.until("ready")
        yield cluster


async def _run(folder: Path) -> None:
    logs.configure()  # to standard error
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    config = ClusterConfig(folder / "data", local_images(), kubeconfig=folder / "kubeconfig")
    async with EmbeddedCluster(config) as cluster:
        print("ready", flush=True)

        async def obey() -> None:
            while word := (await commands.readline()).decode().strip():
                await (cluster.api.stop() if word == "down" else cluster.api.start())
                print(word, flush=True)

        obeying = asyncio.create_task(obey())
        ending = asyncio.create_task(ended.wait())
        await asyncio.wait({obeying, ending}, return_when=asyncio.FIRST_COMPLETED)
        for task in (obeying, ending):
            task.cancel()
        await asyncio.gather(ending, return_exceptions=True)
        with contextlib.suppress(asyncio.CancelledError):
            await obeying


if __name__ == "__main__":
    asyncio.run(_run(Path(sys.argv[1])))
