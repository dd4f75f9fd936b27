"""Worker of Dask in a pod: `python -m workloads.engines.pod_dask_worker OPTIONS SCHEDULER`.

The engine deletes the workers at the end of their run. A worker that ends before is lost, also after SIGTERM, which the
drain of a node sends. Kubernetes starts a pod again only if its exit code is not 0.
"""

from __future__ import annotations

import sys

LOST = 1
"""Exit code."""


def main() -> int:
    """Run the worker with the options of `dask worker`, and return its exit code."""
    from distributed.cli.dask_worker import main as run_worker

    run_worker(standalone_mode=False)
    return LOST


if __name__ == "__main__":
    sys.exit(main())
