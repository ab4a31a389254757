"""Who is whom: the best one-to-one pairs of two groups.

Written here because scipy.optimize, of which one function was wanted, takes most of a second to
load on a slow machine, a fifth of the time until the first frame.
"""

from __future__ import annotations

from math import inf

import numpy as np
from numpy.typing import NDArray

from realtime.records import Float


def assign(similarity: Float, at_least: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows (P,), ascending, and columns (P,) of the one-to-one pairs with the largest sum of
    similarity (N, M), of those pairs that reach at_least (> 0)."""
    passing = similarity >= at_least
    rows = np.flatnonzero(passing.any(1))
    if len(rows) == 0:
        return rows, rows
    cost = np.where(passing, -similarity, 0)[rows]
    columns = cost.argmin(1)
    if len(set(columns.tolist())) == len(rows):  # everybody's best: no sum is larger
        return rows, columns
    if len(cost) <= len(cost.T):
        columns = np.array(_cheapest(cost.tolist()))
    else:
        taken = np.array(_cheapest(cost.T.tolist()))
        columns = taken.argsort()
        rows = rows[taken[columns]]
    good = passing[rows, columns]
    return rows[good], columns[good]


def _cheapest(costs: list[list[float]]) -> list[int]:
    """A column for each row, no more rows than columns, such that the sum of costs is least.

    Row after row gets a column by the shortest path of exchanges, measured in costs less prices
    that keep what is measured at 0 or above (D. F. Crouse, "On implementing 2D rectangular
    assignment algorithms", IEEE TAES 2016).
    """
    width = len(costs[0])
    row_price, column_price = [0.0] * len(costs), [0.0] * width
    column_of, row_of = [-1] * len(costs), [-1] * width
    for start in range(len(costs)):
        length, before = [inf] * width, [-1] * width
        left, passed = list(range(width)), []
        row, reached, column = start, 0.0, -1
        while row >= 0:
            base, nearest = reached - row_price[row], inf
            for at in left:
                through = base + costs[row][at] - column_price[at]
                if through < length[at]:
                    length[at], before[at] = through, row
                if length[at] < nearest:
                    nearest, column = length[at], at
            reached, row = nearest, row_of[column]
            left.remove(column)
            passed.append(column)
        row_price[start] += reached
        for at in passed:
            column_price[at] -= reached - length[at]
            if row_of[at] >= 0:
                row_price[row_of[at]] += reached - length[at]
        while row != start:
            row = before[column]
            row_of[column], column_of[row], column = row, column, column_of[row]
    return column_of
