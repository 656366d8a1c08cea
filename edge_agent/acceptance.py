"""A new model's first start, in a process of its own: ``python -m edge_agent.acceptance BUNDLE``.

A model that crashes the runtime, or takes all the memory there is, ends this process and not the
one that answers the PLC. What is compiled here lands in the cache, so that loading it there takes
a fraction of the time. Says what it does and what is wrong as JSON lines.
"""

import argparse
import json
import sys
from pathlib import Path

from edge_agent.adapters.detector import Loading, check_golden, load_model
from edge_agent.errors import EdgeAgentError
from edge_agent.priority import be_a_modest_process

COMPILED = "compiled"
PASSED = "passed"


def main() -> int:
    """Compile, run the golden pictures; 0: it may go on, 1: it may not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--num-threads", type=int, default=1)
    parser.add_argument("--num-requests", type=int, default=1)
    parser.add_argument("--precision", default="f32")
    parser.add_argument("--cache", type=Path)
    options = parser.parse_args()
    be_a_modest_process()
    loading = Loading(options.num_threads, options.cache, options.precision, options.num_requests)
    try:
        model = load_model(options.bundle, loading=loading)
        _say(event=COMPILED)
        check_golden(model)
        model.detector.close()
    except EdgeAgentError as error:
        _say(event="failed", cause=str(error))
        return 1
    _say(event=PASSED)
    return 0


def _say(**facts: str) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
