"""The demo's own processes: the customer's training and the embedded cluster. None outlives its owner."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from trimtab.errors import TrimtabError

_PR_SET_PDEATHSIG = 1
CLUSTER_FOLDER = "cluster"
_LAST_LINES = 15
_PATIENCE_S = 20.0
# One thread: two of them wait for each other actively, which is slow wherever the second core is busy.
_TRAIN = (
    "import sys; from pathlib import Path; from trimtab.cli.demo.train import write_customer_model; "
    "print(write_customer_model(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), threads=1))"
)
# A Ctrl-C reaches every process of the terminal's group; ours are in groups of their own and end when we say so.
_PYTHON = (sys.executable, "-P")
_UP = ("-m", "trimtab", "local", "up", "--foreground")


async def train_customer_model(folder: Path, data: Path, seed: int, scratch: Path) -> float:
    """Train the customer's model in a process of its own, so that torch is gone afterwards; returns its accuracy.

    What torch leaves in the temporary folder stays in `scratch`.

    Raises:
        TrimtabError: The training ended badly; the message has its last lines.
    """
    process = await asyncio.create_subprocess_exec(
        *_PYTHON,
        "-c",
        _TRAIN,
        str(folder),
        str(data),
        str(seed),
        env={**os.environ, "TMPDIR": str(scratch)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        preexec_fn=_dies_with(os.getpid(), signal.SIGKILL),
    )
    try:
        out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise TrimtabError("TrainingFailed", f"exit code {process.returncode}\n{_last_lines(err.decode())}")
    return float(out.decode().split()[-1])


class EmbeddedCluster:
    """A running `trimtab local up`."""

    def __init__(self, process: subprocess.Popen[bytes], kubeconfig: Path, log: Path) -> None:
        self.pid = process.pid
        self.kubeconfig = kubeconfig
        self.left = False
        self._process = process
        self._log = log
        self._ended = asyncio.Event()
        self._pidfd = os.pidfd_open(process.pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._reap)

    def leave(self) -> None:
        """Let it run on when its block ends."""
        self.left = True

    async def failed(self) -> None:
        """Wait for an end that nobody asked for.

        Raises:
            TrimtabError: It ended; the message has its last lines.
        """
        await self._ended.wait()
        raise TrimtabError("ClusterFailed", f"the embedded cluster ended\n{_last_lines(self._log.read_text())}")

    async def until_ready(self, seconds: float) -> None:
        """Wait for its one line, which says that it is ready."""
        assert self._process.stdout is not None  # noqa: S101 - it was started with a pipe
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), self._process.stdout)
        try:
            async with asyncio.timeout(seconds):
                line = await reader.readline()
        except TimeoutError:
            line = b""
        finally:
            transport.close()
        if not line:
            text = _last_lines(self._log.read_text())
            raise TrimtabError("ClusterFailed", f"no embedded cluster within {seconds:.0f} s\n{text}")

    async def end(self) -> None:
        """Ask it to end; kill it when it takes too long: its containers go with it either way."""
        if not self.left and not self._ended.is_set():
            self._process.terminate()
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    await self._ended.wait()
            except TimeoutError:
                self._process.kill()
                await self._ended.wait()
        if not self._ended.is_set():
            self._forget()

    def _reap(self) -> None:
        if self._process.poll() is not None:
            self._forget()
            self._ended.set()

    def _forget(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)


@asynccontextmanager
async def embedded_cluster(folder: Path, *, keep: bool, start_s: float) -> AsyncIterator[EmbeddedCluster]:
    """Run an embedded cluster inside the block and end it afterwards, unless it was told to stay.

    With `keep` it may outlive this process; without, the kernel ends it with us, however we end.

    Raises:
        TrimtabError: It did not come up; the message has its last lines.
    """
    kubeconfig, log = folder / "kubeconfig", folder / "cluster.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: ASYNC220 - asyncio's own would kill what `keep` leaves behind
            [*_PYTHON, *_UP, f"--data-dir={folder / CLUSTER_FOLDER}", f"--kubeconfig={kubeconfig}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=output,
            start_new_session=True,
            preexec_fn=None if keep else _dies_with(os.getpid(), signal.SIGTERM),  # noqa: PLW1509 - prctl and getppid only
        )
    cluster = EmbeddedCluster(process, kubeconfig, log)
    try:
        await cluster.until_ready(start_s)
        yield cluster
    finally:
        await cluster.end()


def _dies_with(parent: int, how: signal.Signals) -> Callable[[], None]:
    """Return what a child does first: ask the kernel to end it together with its parent."""
    libc = ctypes.CDLL(None, use_errno=True)

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, how, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return prepare


def _last_lines(text: str) -> str:
    return "\n".join(text.splitlines()[-_LAST_LINES:]) or "(it wrote nothing)"
