"""Words: numbers, shares and times as the page writes them."""

from __future__ import annotations

from datetime import UTC, datetime

MINUTE, HOUR, DAY = 60, 3_600, 86_400


def share(part: float, whole: float) -> str:
    """Return a share in per cent; a dash for a share of nothing."""
    if not whole:
        return "–"
    if not part:
        return "0 %"
    percent = 100 * part / whole
    if 0 < percent < 0.1:
        return "< 0.1 %"
    if 99.9 < percent < 100:
        return "> 99.9 %"
    return f"{percent:.1f} %" if percent < 99.95 else "100 %"


def figure(value: float | None, digits: int = 3) -> str:
    """Return a figure with a few digits; a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def short(number: float) -> str:
    """Return a count in a few characters."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if number >= size:
            scaled = number / (1e3 if unit == "k" else size)
            return f"{scaled:,.1f} {unit}" if scaled < 100 else f"{scaled:,.0f} {unit}"
    return f"{number:,.0f}"


def lasting(seconds: float) -> str:
    """Return a time that something took."""
    if seconds < 0.001:
        return f"{1e6 * seconds:.0f} µs"
    if seconds < 1:
        return f"{1e3 * seconds:.3g} ms"
    if seconds < 2 * MINUTE:
        return f"{seconds:.1f} s"
    return f"{seconds / MINUTE:.0f} min" if seconds < 2 * HOUR else f"{seconds / HOUR:.1f} h"


def moment(at: datetime) -> str:
    """Return a point in time, in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"


def ago(at: datetime, now: datetime) -> str:
    """Return how long ago something was."""
    seconds = max((now - at).total_seconds(), 0.0)
    if seconds < MINUTE:
        return "less than a minute ago"
    for size, unit in ((DAY, "day"), (HOUR, "hour"), (MINUTE, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def place(name: str, axis: str) -> str:
    """Return the place of a point on a curve's axis."""
    return f"step {int(name):,}" if axis == "step" else _time(name)


def _time(name: str) -> str:
    """Return a time that was cut to some characters of ISO text."""
    if len(name) == len("2026-11-24T15:1"):
        name += "0"
    if len(name) == len("2026-11-24T15"):
        name += ":00"
    return name.replace("T", " ")


def sentence(said: str) -> str:
    """Return a text with a full stop at its end."""
    return said if not said or said.endswith((".", "!", "?")) else f"{said}."


def plural(count: int, one: str, many: str | None = None) -> str:
    """Return a count with its noun."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
