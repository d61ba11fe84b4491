"""Multiply-adds of matrix products as functions of shapes, used by both engines and all plans. Imports no torch.

One multiply-add is 2 FLOPs. What counts and what doesn't is as in `tapetum.account.flops`: attention is dense, masked or not.
"""


def matmul(rows: int, inner: int, columns: int) -> int:
    """Count the product (rows, inner) x (inner, columns); for a linear layer, inner is its inputs and columns its outputs."""
    return rows * inner * columns


def attention(queries: int, keys: int, width: int, value_width: int | None = None) -> int:
    """Count attention scores and sums of values, of all heads together, without projections.

    >>> attention(4, 4, 8)
    256
    """
    return matmul(queries, width, keys) + matmul(queries, keys, width if value_width is None else value_width)


def mlp(rows: int, width: int, hidden: int) -> int:
    """Count two linear layers, expanding and projecting back."""
    return 2 * matmul(rows, width, hidden)


def block(rows: int, width: int, hidden: int) -> int:
    """Count the linear layers of a transformer block: four projections and an MLP; `attention` is added separately."""
    return 4 * matmul(rows, width, width) + mlp(rows, width, hidden)


def convolution(cells: int, kernel: int, inward: int, outward: int) -> int:
    """Count a convolution without groups: `cells` of the output, each reading `kernel` of the input."""
    return matmul(cells, kernel * inward, outward)
