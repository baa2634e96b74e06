"""What a person sees while the demo runs: one live picture on a terminal, plain lines anywhere else."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from trimtab.cli.demo.timeline import Sample

_PLAIN_EVERY_S = 5.0


class View:
    """Shows phases, progress, notes and samples. On a terminal the lower part is redrawn, notes scroll above it."""

    def __init__(self, console: Console, clock: Callable[[], float]) -> None:
        self._console = console
        self._clock = clock
        self._began = clock()
        self._phase = ""
        self._detail = ""
        self._percent = 0
        self._sample: Sample | None = None
        self._last_plain = -_PLAIN_EVERY_S
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    @property
    def title(self) -> str:
        """The phase that runs."""
        return self._phase

    def phase(self, title: str) -> None:
        """Begin a phase; the one before is done."""
        self._phase, self._detail, self._percent = title, "", 0
        self.note(title, style="bold cyan")

    def note(self, text: str, style: str = "") -> None:
        """Say something that stays."""
        stamp = f"[{self._clock() - self._began:5.1f} s] "
        self._console.print(Text.assemble((stamp, "dim"), (text, style)), highlight=False)
        self._redraw()

    def progress(self, detail: str, percent: int) -> None:
        """Show how far the phase is; without a terminal each new detail is a line."""
        changed = detail != self._detail
        self._detail, self._percent = detail, percent
        if self._live is None and changed and detail:
            self.note(f"  {detail}, {percent} %")
        self._redraw()

    def sample(self, sample: Sample) -> None:
        """Show the newest sample; without a terminal every few seconds."""
        self._sample = sample
        if self._live is None and self._clock() - self._last_plain >= _PLAIN_EVERY_S:
            self._last_plain = self._clock()
            self.note("  " + sentence(sample))
        self._redraw()

    def _redraw(self) -> None:
        if self._live is not None:
            self._live.update(self._picture())

    def _picture(self) -> Any:
        head = Table.grid(padding=(0, 1))
        head.add_row(Spinner("dots"), Text(self._phase, "bold"), Text(self._detail, "dim"))
        parts: list[Any] = [head]
        if self._percent:
            parts.append(ProgressBar(total=100, completed=self._percent, width=50))
        if self._sample is not None:
            parts.append(_numbers(self._sample))
        return Group(*parts)


def sentence(sample: Sample) -> str:
    """Return a sample as one line."""
    return (
        f"{sample.ready} replicas ({sample.on_demand} on demand, {sample.spot} spot; load asks for {sample.wanted}), "
        f"{sample.answered_per_s:.0f} requests/s, p95 {sample.p95_ms:.1f} ms, {sample.sent:,} sent, "
        f"{sample.failed} failed, {sample.cost_per_hour:.3f}/h against {sample.all_on_demand_per_hour:.3f}/h"
    )


def _numbers(sample: Sample) -> Table:
    drawn = Table.grid(padding=(0, 2))
    drawn.add_column(style="dim")
    drawn.add_column()
    on_demand, spot = "■ " * sample.on_demand, "■ " * sample.spot
    missing = "□ " * max(0, sample.wanted - sample.ready)
    replicas = Text.assemble((on_demand, "blue"), (spot, "green"), (missing, "dim"))
    replicas.append(f" {sample.ready}: {sample.on_demand} on demand, {sample.spot} spot; load asks for {sample.wanted}")
    drawn.add_row("replicas", replicas)
    drawn.add_row("requests", f"{sample.answered_per_s:.0f}/s of {sample.offered_per_s:.0f}/s, {sample.sent:,} sent")
    drawn.add_row("failed", Text(str(sample.failed), "bold red" if sample.failed else "green"))
    drawn.add_row("p95", f"{sample.p95_ms:.1f} ms")
    drawn.add_row("cost", f"{sample.cost_per_hour:.3f}/h, all on demand {sample.all_on_demand_per_hour:.3f}/h")
    return drawn
