"""Multiply-adds of matrix products as functions of shapes: what both engines and all plans count with. Imports no torch.

One multiply-add is 2 FLOPs. What counts and what doesn't is as in `tapetum.account.flops`: attention is dense, masked or not.
"""


def matmul(rows: int, inner: int, columns: int) -> int:
    """Count those of (rows, inner) x (inner, columns); a linear layer has inputs for inner and outputs for columns."""
    return rows * inner * columns


def attention(queries: int, keys: int, width: int, value_width: int | None = None) -> int:
    """Count those of scores and sums of values, of all heads together, without projections.

    >>> attention(4, 4, 8)
    256
    """
    return matmul(queries, width, keys) + matmul(queries, keys, width if value_width is None else value_width)


def mlp(rows: int, width: int, hidden: int) -> int:
    """Count those of two linear layers, there and back."""
    return 2 * matmul(rows, width, hidden)


def block(rows: int, width: int, hidden: int) -> int:
    """Count those of the linear layers of a transformer block: four projections and an MLP; `attention` comes on top."""
    return 4 * matmul(rows, width, width) + mlp(rows, width, hidden)


def convolution(cells: int, kernel: int, inward: int, outward: int) -> int:
    """Count those of a convolution without groups: `cells` of the output, `kernel` of the input for each."""
    return matmul(cells, kernel * inward, outward)
