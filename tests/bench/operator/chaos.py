"""Random faults for minutes, under load, on a whole Trimtab; what must hold is watched all the time.

    python tests/bench/operator/chaos.py --seed 1 --minutes 10 --rate 50

Two operators, two gateways, replicas on spot and on-demand nodes, compression to a small disk and to an imitated S3,
on the embedded cluster. What happens, and when, is a function of the seed: it is printed first, and the same seed
gives the same plan again. Ends with a row of a Markdown table, and with 1 where anything was found.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).parents[2]
sys.path[:0] = [str(TESTS / "plugins"), str(TESTS.parent / "operator")]

from faults.plan import DEEDS, plan  # noqa: E402
from faults.world import Outcome, chaotic, e2e, lacking, run  # noqa: E402

HEAD = (
    "| seed | min | faults | deeds | requests | asked again | failed | p50 ms | p99 ms | operators that died | "
    "Jobs repeated | children too late | settled after s | violations |\n|" + "---|" * 14
)
PATIENCE_S = 240.0


def row(seed: int, minutes: float, outcome: Outcome) -> str:
    asked = outcome.asked.values()
    times = sorted(seconds for one in asked for seconds in one.seconds)
    p50, p99 = (1000 * times[int(share * (len(times) - 1))] for share in (0.5, 0.99))
    done = outcome.chaos.done
    deeds = sum(done[deed] for deed in set(DEEDS))
    repeated = sum(count - 1 for count in outcome.chaos.invariants.jobs.values())
    failed = sum(len(one.failures) for one in asked)
    cells = [
        seed,
        f"{minutes:g}",
        sum(done.values()) - deeds,
        deeds,
        sum(one.sent for one in asked),
        sum(one.again for one in asked),
        failed,
        f"{p50:.0f}",
        f"{p99:.0f}",
        outcome.chaos.died,
        repeated,
        outcome.chaos.invariants.late,
        "never" if outcome.unfulfilled else f"{outcome.converged_s:.0f}",
        len(outcome.problems()) - failed,
    ]
    return f"| {' | '.join(str(cell) for cell in cells)} |"


async def carry_out(folder: Path, customer: Path, options: argparse.Namespace) -> int:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)  # so that nothing of it is left
    seconds = 60 * options.minutes
    async with chaotic(folder, customer, options.seed, whole=True) as chaos:
        for event in plan(options.seed, seconds, options.every, lacking(chaos)):
            print(event)
        print(f"cannot happen here: {sorted(lacking(chaos)) or 'nothing'}\n", flush=True)
        chaos.say = lambda text: print(text, flush=True)
        outcome = await run(chaos, options.seed, seconds, options.rate, every=options.every, patience=PATIENCE_S)
    print(f"\nskipped, as nobody could be hit: {dict(chaos.skipped)}")
    for name, asked in outcome.asked.items():
        print(f"{name}: {len(asked.slow)} requests took longer than 10 s: {asked.slow[:20]}")
    for traceback in outcome.tracebacks[:5]:
        print(traceback)
    for problem in outcome.problems()[:40]:
        print(problem)
    print(HEAD)
    print(row(options.seed, options.minutes, outcome), flush=True)
    return 1 if outcome.problems() else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=50.0, help="requests a second")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between faults, in the mean")
    parser.add_argument("--folder", type=Path, help="keep logs here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tt") as name:
        folder = options.folder or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        customer = folder / "customer"
        training = [sys.executable, "-c", e2e().TRAIN, str(customer / "model"), str(customer / "digits.npz")]
        subprocess.run(training, check=True)
        return asyncio.run(carry_out(folder, customer, options))


if __name__ == "__main__":
    sys.exit(main())
