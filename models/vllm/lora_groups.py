"""LoRA's matrix products for a batch whose rows use different adapters, or none: one pair of products per adapter.

Rows are grouped by adapter. The matrices of a layer's slices (q, k and v; gate and up) are stacked in one tensor, so
that a layer takes two products however many slices it has. Rows without an adapter are not touched. Depends on torch
only. The alternative is to copy the matrices for every row, which reads rank x (inputs + outputs) numbers a row; Punica
(arXiv:2310.18547) has kernels that avoid the copy, torch has none.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch.nn.functional import linear

NO_ADAPTER = -1
Product = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Group:
    """The rows of a batch that use the adapter in one slot: a slice if they are consecutive, else their indices."""

    slot: int
    rows: slice | torch.Tensor


def plain_product(weight: torch.Tensor) -> Product:
    """The product with a weight of (outputs, inputs)."""
    return partial(linear, weight=weight)


def group(slots: Sequence[int]) -> tuple[Group, ...]:
    """The groups of a batch, given the slot of each row (`NO_ADAPTER`: none)."""
    rows_of: dict[int, list[int]] = {}
    for row, slot in enumerate(slots):
        if slot != NO_ADAPTER:
            rows_of.setdefault(slot, []).append(row)
    return tuple(Group(slot, _consecutive(rows)) for slot, rows in rows_of.items())


def _consecutive(rows: list[int]) -> slice | torch.Tensor:
    first, last = rows[0], rows[-1]
    return slice(first, last + 1) if last - first == len(rows) - 1 else torch.tensor(rows)


class PackedWeights:
    """The LoRA matrices of one layer: A of all slices stacked, B of all slices block-diagonal.

    Args:
        a: for each slice, (slots, 1, rank, inputs), as vLLM has them.
        b: for each slice, (slots, 1, outputs of the slice, rank).
        prepare: makes the product with a weight; it may keep a copy of the weight in a layout of its own.

    The attributes `a` and `b` are views of the packed tensors with the same shapes: writing to them loads an adapter;
    call `changed` then.

    """

    def __init__(
        self,
        a: Sequence[torch.Tensor],
        b: Sequence[torch.Tensor],
        prepare: Callable[[torch.Tensor], Product] = plain_product,
    ) -> None:
        slots, _, rank, inputs = a[0].shape
        outputs = sum(each.shape[2] for each in b)
        self._a = a[0].new_zeros(slots, len(a) * rank, inputs)
        self._b = b[0].new_zeros(slots, outputs, len(a) * rank)
        self.dtype = self._a.dtype
        a_views: list[torch.Tensor] = []
        b_views: list[torch.Tensor] = []
        first = 0
        for at, (of_a, of_b) in enumerate(zip(a, b, strict=True)):
            columns, end = slice(at * rank, (at + 1) * rank), first + of_b.shape[2]
            a_views.append(self._a[:, None, columns])
            b_views.append(self._b[:, None, first:end, columns])
            a_views[-1].copy_(of_a)
            b_views[-1].copy_(of_b)
            first = end
        self.a, self.b = tuple(a_views), tuple(b_views)
        self._prepare = prepare
        self._products: dict[int, tuple[Product, Product]] = {}  # by slot

    @staticmethod
    def can_pack(a: object, b: object) -> bool:
        """Whether these are a layer's matrices in the shapes above, and of one type."""
        if not isinstance(a, tuple) or not isinstance(b, tuple) or not a or len(a) != len(b):
            return False
        if not all(isinstance(each, torch.Tensor) and each.dim() == 4 for each in (*a, *b)):
            return False
        (slots, one, rank, inputs), dtype = a[0].shape, a[0].dtype
        return (
            one == 1
            and all(each.shape == (slots, 1, rank, inputs) and each.dtype == dtype for each in a)
            and all(each.shape == (slots, 1, each.shape[2], rank) and each.dtype == dtype for each in b)
        )

    def add(self, y: torch.Tensor, x: torch.Tensor, groups: Sequence[Group]) -> None:
        """Add every row's own `x A' B'` to `y`: (rows, outputs), from `x`: (rows, inputs), all of the weights' type."""
        for each in groups:
            times_a, times_b = self._products.get(each.slot) or self._prepared(each.slot)
            _add_to(y, each.rows, times_b(times_a(x[each.rows])))

    def changed(self, slot: int) -> None:
        """The matrices in a slot are about to change, or did."""
        self._products.pop(slot, None)

    def _prepared(self, slot: int) -> tuple[Product, Product]:
        products = self._prepare(self._a[slot]), self._prepare(self._b[slot])
        self._products[slot] = products
        return products


def add_rows(
    y: torch.Tensor, x: torch.Tensor, a: torch.Tensor | None, b: torch.Tensor, groups: Sequence[Group]
) -> None:
    """Add every row's own `x A' B'` to the first columns of `y`, whatever the types.

    `a`: (slots, 1, rank, inputs), or None where `x` is the product with it already; `b`: (slots, 1, outputs, rank).
    """
    y = y[:, : b.shape[2]]
    for each in groups:
        hidden = x[each.rows]
        if a is not None:
            hidden = linear(hidden.float(), a[each.slot, 0].float())
        _add_to(y, each.rows, linear(hidden.to(y.dtype), b[each.slot, 0].to(y.dtype)))


def _add_to(y: torch.Tensor, rows: slice | torch.Tensor, delta: torch.Tensor) -> None:
    if isinstance(rows, slice):
        y[rows].add_(delta)
    else:
        y.index_add_(0, rows, delta)
