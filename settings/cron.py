"""Cron expressions of schedules."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

CRON = (
    ("second", 0, 59),
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day of the month", 1, 31),
    ("month", 1, 12),
    ("day of the week", 0, 6),
)
"""The fields of a schedule with their least and greatest numbers."""
CRON_PART = re.compile(r"(?:\*|(\d+)(?:-(\d+))?)(?:/([1-9]\d*))?")
DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
CRON_NAMES = {
    name: str(number) for names, first in ((DAYS, 0), (MONTHS, 1)) for number, name in enumerate(names, first)
}


def _cron(written: str) -> str:
    """A schedule as cron writes it, in all six fields: the first, of the seconds, may be left out, and is 0 then."""
    fields = re.sub(r"[A-Z]+", lambda word: CRON_NAMES.get(word[0], word[0]), written.upper()).split()
    if len(fields) == 5:
        fields.insert(0, "0")
    if len(fields) != len(CRON):
        raise ValueError("write five fields as cron does, or six with the seconds first, as in 30 2 * * MON-FRI")
    for field, (name, least, greatest) in zip(fields, CRON, strict=True):
        for part in field.split(","):
            found = CRON_PART.fullmatch(part)
            numbers = [int(number) for number in found.groups()[:2] if number] if found else [-1]
            if numbers != sorted(numbers) or any(not least <= number <= greatest for number in numbers):
                raise ValueError(
                    f"{part} is no {name}: write *, a number from {least} to {greatest}, a range as in "
                    f"{least}-{greatest}, and steps as in */2"
                )
    return " ".join(fields)


Schedule = Annotated[str, AfterValidator(_cron)]
"""Seconds, minutes, hours, days of the month, months and days of the week, in UTC."""
