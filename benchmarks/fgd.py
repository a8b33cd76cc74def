"""How full the cards get: the published Alibaba table (Weng et al., USENIX ATC 2023), repeated on the production fleet.

    COOP_TRACES=<folder of traces> python benchmarks/fgd.py
    COOP_TRACES=<folder of traces> python benchmarks/fgd.py --pods gpushare40 --seeds 3

1,213 machines with 6,212 cards; jobs of a real cluster, many of which ask for a part of a card, arrive until they have
asked for 130 % of all cards, and never leave. The figure is the part of the cards that is given away. As published,
the jobs come in a shuffled order, then more of them are drawn with replacement; the machines are numbered anew for
each seed, and the lower number wins between equals. The shapes that `fragmentation` reckons with are the trace's.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1]))

from jobs.core.constraints import Need
from jobs.core.scheduling.fleet import Fleet
from jobs.core.snapshot import DeviceView, NodeView

WHOLE = 1000  # a card, in the thousandths of the trace
MARKS = (0.95, 1.0, 1.3)  # of all cards have been asked for
ROWS = [
    ("random", "Random"),
    ("published-best-fit", "BestFit"),
    ("best-fit", ""),
    ("fragmentation", "FGD"),
]
PUBLISHED = {  # means of ten runs, from the result file that was published with the paper's simulator
    ("default", "Random"): (85.72, 86.30, 87.47),
    ("default", "BestFit"): (92.82, 92.86, 93.08),
    ("default", "FGD"): (94.91, 95.23, 95.39),
    ("gpushare40", "Random"): (84.38, 84.86, 86.00),
    ("gpushare40", "BestFit"): (91.40, 91.44, 91.69),
    ("gpushare40", "FGD"): (93.92, 93.96, 94.15),
}


@dataclass(frozen=True)
class Trace:
    """The machines and the jobs of a trace."""

    machines: list[dict[str, str]]
    pods: list[Need]

    @property
    def cards(self) -> int:
        """All cards together, in thousandths."""
        return WHOLE * sum(int(each["gpu"]) for each in self.machines)


def main() -> None:
    """Print the table."""
    options = _options()
    trace = _trace(options.pods)
    _say(f"pods {options.pods}: {len(trace.pods)} jobs, {len(trace.machines)} machines, ")
    _say(f"{trace.cards // WHOLE} cards; {options.seeds} seeds\n\n")
    _say("Cards given away, % of all, when so much of them has been asked for:\n")
    _say(f"{'':22}{'published':^24}{'here':^24}\n")
    marks = "".join(f"{mark:>8.0%}" for mark in MARKS)
    _say(f"{'placement':<22}{marks}{marks}{'+-':>8}{'s a run':>9}\n")
    for strategy, name in ROWS:
        _say(_row(trace, options.pods, strategy, name, options.seeds))


def _row(trace: Trace, pods: str, strategy: str, name: str, seeds: int) -> str:
    began = time.monotonic()
    runs = [packed(trace, strategy, seed) for seed in range(seeds)]
    seconds = (time.monotonic() - began) / seeds
    published = PUBLISHED.get((pods, name), ())
    theirs = "".join(f"{each:8.2f}" for each in published) or " " * 8 * len(MARKS)
    ours = "".join(f"{statistics.mean(column):8.2f}" for column in zip(*runs, strict=True))
    spread = statistics.stdev(run[-1] for run in runs) if seeds > 1 else 0.0
    return f"{strategy:<22}{theirs}{ours}{spread:8.2f}{seconds:9.1f}\n"


def packed(trace: Trace, strategy: str, seed: int) -> list[float]:
    """The part of the cards (%) that is given away when each of `MARKS` has been asked for."""
    random = Random(seed)
    arriving = list(_arriving(trace, random))
    fleet = _fleet(trace, strategy, random)
    asked = given = 0
    found = dict.fromkeys(MARKS, 0.0)
    for need in arriving:
        asked += need.gpus * need.memory
        placements = fleet.find(need)
        if placements is not None:
            fleet.take(need, placements)
            given += need.gpus * need.memory
        for mark in MARKS:
            if asked <= mark * trace.cards:
                found[mark] = 100 * given / trace.cards
    return list(found.values())


def _arriving(trace: Trace, random: Random) -> Iterator[Need]:
    yield from random.sample(trace.pods, len(trace.pods))
    asked = sum(need.gpus * need.memory for need in trace.pods)
    while True:
        need = random.choice(trace.pods)
        if asked + need.memory > MARKS[-1] * trace.cards:
            return
        asked += need.gpus * need.memory
        yield need


def _fleet(trace: Trace, strategy: str, random: Random) -> Fleet:
    numbers = random.sample(range(len(trace.machines)), len(trace.machines))
    nodes, cards = [], []
    for number, row in zip(numbers, trace.machines, strict=True):
        node = NodeView(
            name=f"machine-{number:04}",
            cpus=int(row["cpu_milli"]),
            host_memory=int(row["memory_mib"]),
        )
        nodes.append(node)
        cards += [_card(node.name, index, row["model"]) for index in range(int(row["gpu"]))]
    fleet = Fleet(cards, nodes, strategy=strategy, pick=random.randrange)
    fleet.expect(Counter(trace.pods))
    return fleet


def _card(machine: str, index: int, model: str) -> DeviceView:
    """A card of which parts are given away without any rule of ours: no margin, no threshold, no cap."""
    return DeviceView(
        uuid=f"{machine}-{index}",
        node=machine,
        index=index,
        name=model,
        total=WHOLE,
        safety=0,
        measured_free=WHOLE,
        threshold=1.0,
        max_holders=None,
    )


def _trace(pods: str) -> Trace:
    folder = os.environ.get("COOP_TRACES")
    if not folder:
        sys.exit(
            "COOP_TRACES is not set: set it to the folder of traces, see benchmarks/README.md."
        )
    openb = Path(folder) / "openb"
    needs = [_need(row) for row in _rows(openb / f"openb_pod_list_{pods}.csv")]
    return Trace(machines=_rows(openb / "openb_node_list_gpu_node.csv"), pods=needs)


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        sys.exit(f"There is no file {path}: fetch it as benchmarks/README.md says.")
    with path.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def _need(row: dict[str, str]) -> Need:
    if "|" in row["gpu_spec"]:
        sys.exit(
            f"The job {row['name']} may run on several models ({row['gpu_spec']}), which a need cannot say: "
            "choose a list without such jobs, default or gpushare40."
        )
    return Need(
        gpu_type=row["gpu_spec"] or None,
        memory=int(row["gpu_milli"]),
        gpus=int(row["num_gpu"]),
        nodes=1,
        exclusive=False,
        host_cpus=int(row["cpu_milli"]),
        host_memory=int(row["memory_mib"]),
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--pods", default="default", help="which list: openb_pod_list_<PODS>.csv")
    parser.add_argument("--seeds", type=int, default=10, help="runs for each placement")
    return parser.parse_args()


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
