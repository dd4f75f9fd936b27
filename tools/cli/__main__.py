"""Drive a stack, in the project's environment: `python tools/cli up --stack dev`. See `tools/cli/commands.py`."""

import sys
from pathlib import Path

# A script finds its own folder first; the checkout is what its imports start from.
sys.path[0] = str(Path(__file__).resolve().parents[2])

from tools.cli.commands import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
