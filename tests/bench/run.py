"""`make bench`: see `tests/bench/benchmark.py` and docs/benchmarks.md."""

import sys
from pathlib import Path

# A script finds its own folder first; the checkout is what its imports start from.
sys.path[0] = str(Path(__file__).resolve().parents[2])

from tests.bench.benchmark import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
