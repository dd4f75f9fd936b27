"""`make bench`: see `tests/bench/benchmark.py` and docs/benchmarks.md."""

import sys
from pathlib import Path

# Python puts the script's folder first on its path, but imports start from the checkout.
sys.path[0] = str(Path(__file__).resolve().parents[2])

from tests.bench.benchmark import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
