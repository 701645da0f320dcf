"""How many layers to project together: the cheapest way to the end of the window.

`n` rows want a layer; a row that has read one wants the next with probability `q`. After `j` layers
`n q^j` rows are left in the mean, and any at all with probability `P_j = 1 - (1 - q^j)^n`. To read
`w` layers at once from there costs one product,

    P_j time(w n q^j / P_j),

and the total from `j` is the least over `w` of that and the total from `j + w`: a shortest path
over the layers of the window. Where time is flat in the rows (the unembedding is being read) all
go together; where it grows in proportion each waits until it is wanted.
"""

from collections.abc import Callable


def cheapest_width(
    time: Callable[[float], float], rows: int, layers: int, most: int, rate: float, sure: int = 1
) -> int:
    """Layers that are best read at once.

    Parameters
    ----------
    time : from a number of rows to the time of their product.
    rows, layers : rows that want the next layer, and layers that are left.
    most : most rows of a product of more than one layer.
    rate : probability `q`.
    sure : number of first layers that all rows want: 2 for `L` and `L - 1`.
    """
    left = [rate ** max(0, j - sure + 1) for j in range(layers)]
    total, best = [0.0] * (layers + 1), 1
    for j in range(layers - 1, -1, -1):
        some = 1 - (1 - left[j]) ** rows
        each = rows * left[j] / some if some > 0 else 1.0
        total[j] = float("inf")
        for w in range(1, layers - j + 1):
            if w > 1 and w * each > most:
                break
            cost = some * time(w * each) + total[j + w]
            if cost < total[j]:
                total[j], best = cost, w
    return best
