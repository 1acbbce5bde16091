"""The assignment problem, solved exactly: shortest augmenting paths under prices, with whole rows
at a time in NumPy.
"""

import numpy as np

from ..errors import UserError


def shortest_path(
    cost: np.ndarray, u: np.ndarray, v: np.ndarray, row_of: np.ndarray, start: int
) -> tuple:
    """Dijkstra's search from a free row to the nearest free column, along unmatched edges out and
    matched edges back.

    Lengths are the reduced costs C_ij - u_i - v_j >= 0; matched edges have length 0.

    Args:
        cost: C (n, n); prices `u` of rows and `v` of columns, (n,).
        row_of: (n,), the row of each column or -1.
        start: A row.

    Returns:
        The column, the distances (n,), the row before each column (n,), and which columns the
        search settled.

    Derived in chapter 06. Source: Jonker and Volgenant.
    """
    distance, before = cost[start] - u[start] - v, np.full(len(v), start)
    far, settled = distance.copy(), np.zeros(len(v), dtype=bool)  # `far` leaves out what is settled
    while row_of[j := int(far.argmin())] >= 0:
        settled[j], far[j], k = True, np.inf, row_of[j]
        through = distance[j] + cost[k] - u[k] - v
        better = ~settled & (through < distance)
        distance[better], before[better] = through[better], k
        far[better] = through[better]
    return j, distance, before, settled


def assign(cost: np.ndarray) -> np.ndarray:
    """The permutation with the least total cost, argmin_s sum_i C_{i s(i)}, in O(n^3).

    It grows a matching by one row at a time along a shortest path, and moves the prices so that no
    reduced cost is negative and those of matched edges are zero, which proves that the matching is
    the best: sum C >= sum u + sum v = its cost.

    Args:
        cost: C (n, n), finite.

    Returns:
        s (n,), the column of each row.

    Raises:
        UserError: On any other cost.

    Derived in chapter 06. Source: Jonker and Volgenant.
    """
    if cost.shape != (len(cost), len(cost)) or not np.isfinite(cost).all():
        raise UserError("an assignment needs as many columns as rows, and finite costs")
    n = len(cost)
    u, v = np.zeros(n), cost.min(axis=0)
    row_of, column_of = np.full(n, -1), np.full(n, -1)
    for j, i in enumerate(cost.argmin(axis=0)):  # columns whose cheapest row is still free have it
        if column_of[i] < 0:
            row_of[j], column_of[i] = i, j
    for start in np.flatnonzero(column_of < 0).tolist():
        j, distance, before, settled = shortest_path(cost, u, v, row_of, start)
        gain = distance[j] - distance[settled]
        u[start] += distance[j]
        u[row_of[settled]] += gain
        v[settled] -= gain
        while (
            j >= 0
        ):  # swap along the path: each row on it takes the column that it was searched through
            i = before[j]
            row_of[j], column_of[i], j = i, j, column_of[i]
    return column_of
