"""When a schedule of six cron fields fires, as CloudNativePG's scheduler reads it (github.com/robfig/cron, v1: spec.go and parser.go)."""

from datetime import date, timedelta
from functools import cache
from itertools import accumulate, pairwise, product
from math import ceil

from attrs import frozen

_NAMES = {
    name: str(number)
    for names in (
        ("", "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"),
        ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"),
    )
    for number, name in enumerate(names)
    if name
}
_LIMITS = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
_FIRST, _DAYS = date(2027, 1, 1), 9 * 366
"""What is looked at: two 29ths of February are in it."""
_DAY = 86_400


@frozen
class Firings:
    """The days on which it fires, counted from the first that is looked at, and the seconds of each."""

    days: tuple[int, ...]
    seconds: tuple[int, ...]

    def most_within(self, days: int) -> int:
        """The most times that it fires from any moment to so many days after it, both included."""
        if days >= _DAYS // 2:
            return (days + 1) * len(self.seconds)
        chosen = set(self.days)
        until = list(accumulate((day in chosen for day in range(_DAYS + days + 1)), initial=0))
        return max((until[day + days] - until[day]) * len(self.seconds) + until[day + days + 1] - until[day + days] for day in self.days)

    @property
    def longest_pause(self) -> int:
        """The most hours between two times."""
        within = max((after - before for before, after in pairwise(self.seconds)), default=0)
        over = (self.seconds[0] - self.seconds[-1] + (after - before) * _DAY for before, after in pairwise(self.days))
        return ceil(max(within, *over) / 3600)


@cache
def firings(schedule: str) -> Firings:
    """When it fires. Raises ValueError for a schedule of a day that never comes."""
    fields = schedule.split()
    second, minute, hour, day, month, weekday = (_values(text, *limits) for text, limits in zip(fields, _LIMITS, strict=True))
    either = not any(part[0] in "*?" for text in (fields[3], fields[5]) for part in text.split(","))
    dates = (_FIRST + timedelta(ahead) for ahead in range(_DAYS))
    days = tuple(
        ahead
        for ahead, one in enumerate(dates)
        if one.month in month and (any if either else all)((one.day in day, one.isoweekday() % 7 in weekday))
    )
    if not days:
        raise ValueError("names a day that never comes")
    return Firings(days, tuple(sorted(3600 * h + 60 * m + s for h, m, s in product(hour, minute, second))))


def _values(text: str, least: int, most: int) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        low, _, high = span.partition("-")
        first = least if low in "*?" else int(_NAMES.get(low, low))
        # With a step, a lone number begins a range to the end.
        last = int(_NAMES.get(high, high)) if high else most if low in "*?" or step else first
        found.update(range(first, last + 1, int(step or 1)))
    return frozenset(found)
