"""``make bench-edge``: real agent, real broker, simulated PLC; writes bench/edge.json.

``PYTHONPATH=tests python -m bench.edge --quick --only mqtt`` while working on one of them.
"""

import argparse
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from . import in_process, long_run, over_http, over_mqtt, swaps
from .figures import REPOSITORY, Effort, load_average, merge, say

SECTIONS: dict[str, Callable[..., dict[str, Any]]] = {
    **in_process.SECTIONS,
    **over_mqtt.SECTIONS,
    **over_http.SECTIONS,
    **swaps.SECTIONS,
    **long_run.SECTIONS,
}


PRIORITY = -5
"""As the systemd unit has it: agent, brokers and PLC go before whatever else the machine does."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=sorted(SECTIONS), help="this section")
    parser.add_argument("--quick", action="store_true", help="few rounds, to develop with")
    parser.add_argument("--rounds", type=int, help="of each section, instead of its own number")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "bench" / "edge.json")
    parser.add_argument("--work", type=Path, default=REPOSITORY / "run" / "bench-edge")
    parser.add_argument(
        "--realtime", action="store_true", help="before everything else on a shared machine"
    )
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started ends with us
    with suppress(PermissionError):
        if options.realtime:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        else:
            os.nice(PRIORITY)
    effort = Effort(options.quick, options.rounds)
    for name in options.only or SECTIONS:
        say(f"{name}: load average {load_average()}")
        figures = SECTIONS[name](options.work.resolve(), effort)
        say(f"{name}: {figures['top']}")
        merge(options.out, name, figures, is_quick=options.quick)


if __name__ == "__main__":
    main()
