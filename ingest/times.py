"""Times as silver reads them, for questions that are asked without Spark."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

WHITE_SPACE = " \t\n\v\f\r"
_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ]([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d)(?:\.(\d{1,9}))?)?"
    r"(?:Z|([+-])(0\d|1[0-7]|18)(?::?([0-5]\d))?)?",
    re.ASCII,
)
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?0*\d{1,3})?", re.ASCII)
_LONGEST_NUMBER = 1_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS, _MILLISECONDS = (10**9, 10**10), (10**12, 10**13)
_LARGEST_OFFSET = timedelta(hours=18)


def parse_time(text: str) -> datetime | None:
    """Read ISO 8601 or Unix time (seconds or milliseconds) as the macro parse_timestamp does.

    None if it is neither, or before the year 1 or after 9999, which datetime cannot hold and silver never accepts.
    """
    text = text.strip(WHITE_SPACE)
    if found := _ISO.fullmatch(text):
        date, hour, minute, second, fraction, sign, hours, minutes = found.groups()
        offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
        try:
            local = datetime.fromisoformat(f"{date}T{hour}:{minute}:{second or '00'}.{(fraction or '0')[:6]:0<6}+00:00")
            return local + offset * (1 if sign == "-" else -1) if offset <= _LARGEST_OFFSET else None
        except (ValueError, OverflowError):
            return None
    if len(text) > _LONGEST_NUMBER or not _NUMBER.fullmatch(text):
        return None
    number = Decimal(text)
    for (least, limit), micros in ((_SECONDS, 1_000_000), (_MILLISECONDS, 1_000)):
        if least <= number < limit:
            return _EPOCH + timedelta(microseconds=int(number * micros))
    return None
