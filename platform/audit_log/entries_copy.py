"""Program that saves or loads the entries of an audit log: `python -m mlplatform.audit_log.entries_copy ACTION`.

`save` writes a JSON list a line to standard output. `load` reads such lines and adds the entries that the audit log in
AUDIT_FOLDER lacks.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from mlplatform.audit_log.audit_store import FILE, AuditStore

SAVE_ENTRIES, LOAD_ENTRIES = "save", "load"


def main() -> None:
    """Do the action of the argument."""
    store = AuditStore(Path(os.environ["AUDIT_FOLDER"]) / FILE)
    if sys.argv[1] == SAVE_ENTRIES:
        sys.stdout.writelines(f"{json.dumps(row)}\n" for row in store.rows())
    else:
        store.merge(json.loads(line) for line in sys.stdin)


if __name__ == "__main__":
    main()
