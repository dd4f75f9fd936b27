"""Cron expressions of schedules."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

CRON_FIELDS = (
    ("second", 0, 59),
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day of the month", 1, 31),
    ("month", 1, 12),
    ("day of the week", 0, 6),
)
"""Name, lowest and highest number of each field of a schedule."""
CRON_TERM = re.compile(r"(?:\*|(\d+)(?:-(\d+))?)(?:/([1-9]\d*))?")
"""Term of a field: `*`, `5`, `1-5`, each with an optional step such as `/2`."""
DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
CRON_NAMES = {
    name: str(number) for names, first in ((DAYS, 0), (MONTHS, 1)) for number, name in enumerate(names, first)
}


def _normalize_schedule(schedule: str) -> str:
    """Return a cron expression with six fields and numbers for names; five fields get 0 for the seconds.

    Raises:
        ValueError: the number of fields is wrong, or a field is out of its range.
    """
    fields = re.sub(r"[A-Z]+", lambda word: CRON_NAMES.get(word[0], word[0]), schedule.upper()).split()
    if len(fields) == 5:
        fields.insert(0, "0")
    if len(fields) != len(CRON_FIELDS):
        raise ValueError("write five fields as cron does, or six with the seconds first, as in 30 2 * * MON-FRI")
    for field, (name, lowest, highest) in zip(fields, CRON_FIELDS, strict=True):
        for term in field.split(","):
            match = CRON_TERM.fullmatch(term)
            numbers = [int(number) for number in match.groups()[:2] if number] if match else [-1]
            if numbers != sorted(numbers) or any(not lowest <= number <= highest for number in numbers):
                raise ValueError(
                    f"{term} is no {name}: write *, a number from {lowest} to {highest}, a range as in "
                    f"{lowest}-{highest}, and steps as in */2"
                )
    return " ".join(fields)


Schedule = Annotated[str, AfterValidator(_normalize_schedule)]
"""A cron expression in UTC: seconds, minutes, hours, days of the month, months and days of the week."""
