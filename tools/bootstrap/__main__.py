"""Install the tools in the cache folder: `python3 -m tools.bootstrap [--stack NAME]`, in the checkout.

It needs only the system's Python and its standard library, and skips the tools that are installed already. With
--stack, an unknown stack is rejected before anything is installed.
"""

from __future__ import annotations

import sys


def main() -> int:
    """Check the version of Python, install the tools and return the exit code."""
    if sys.version_info < (3, 11):  # noqa: UP036 - older versions read this file
        version = ".".join(str(part) for part in sys.version_info[:3])
        print(
            f"Python 3.11 or newer is needed; {sys.executable} is {version}. Install a newer one (Debian, Ubuntu: "
            "apt-get install python3.12 python3.12-venv; Fedora: dnf install python3.12; macOS: brew install "
            "python@3.12) and choose it: make up PYTHON=python3.12",
            file=sys.stderr,
        )
        return 2
    # Not at the top: these modules use syntax of Python 3.11.
    from tools.bootstrap.install import install_tools

    return install_tools(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
