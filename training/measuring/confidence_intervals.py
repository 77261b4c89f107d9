"""Counts in, rates with their 95 % intervals out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rate:
    """count events among `total` trials, or in `total` hours."""

    count: int
    total: float

    @property
    def value(self) -> float:
        """The estimate; not a number without trials."""
        return self.count / self.total if self.total else float("nan")

    def wilson(self) -> tuple[float, float]:
        """95 % interval of a share (Wilson, 1927); 0 to 1 without trials."""
        from scipy.stats import binomtest

        if not self.total:
            return (0.0, 1.0)
        interval = binomtest(self.count, int(self.total)).proportion_ci(0.95, method="wilson")
        return (float(interval.low), float(interval.high))

    def poisson(self) -> tuple[float, float]:
        """Exact 95 % interval of a rate (Garwood, 1936); 0 to infinity in no time."""
        from scipy.stats import chi2

        if not self.total:
            return (0.0, float("inf"))
        low = chi2.ppf(0.025, 2 * self.count) / 2 if self.count else 0.0
        return (float(low / self.total), float(chi2.ppf(0.975, 2 * self.count + 2) / 2 / self.total))

    def __add__(self, other: Rate) -> Rate:
        """Both taken together."""
        return Rate(self.count + other.count, self.total + other.total)
