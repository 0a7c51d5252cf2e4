"""Products of LoRA adapters for a batch: by groups of rows here, row by row to compare with."""

from collections.abc import Sequence

import pytest
import torch

from models.vllm.lora_groups import NO_ADAPTER, PackedWeights, add_rows, group

SLOTS, RANK, INPUTS = 3, 4, 24
OUTPUTS = (16, 8, 8)  # as q, k and v have them
BATCHES = {
    "no adapter": [NO_ADAPTER] * 5,
    "one": [1] * 5,
    "one token": [2],
    "one beside the model itself": [0, 0, NO_ADAPTER, NO_ADAPTER, 0],
    "several": [2, 0, 2, 1, NO_ADAPTER, 1, 1],
}


def numbers(*shape: int, seed: int) -> torch.Tensor:
    """Small ones, in float32 so that sums differ by rounding only."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) / 4


def matrices() -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
    """A and B of each slice, in vLLM's shapes."""
    a = tuple(numbers(SLOTS, 1, RANK, INPUTS, seed=at) for at in range(len(OUTPUTS)))
    b = tuple(numbers(SLOTS, 1, outputs, RANK, seed=9 + at) for at, outputs in enumerate(OUTPUTS))
    return a, b


def row_by_row(
    y: torch.Tensor,
    x: torch.Tensor,
    a: Sequence[torch.Tensor],
    b: Sequence[torch.Tensor],
    slots: Sequence[int],
) -> torch.Tensor:
    """What is meant."""
    result = y.clone()
    for row, slot in enumerate(slots):
        if slot != NO_ADAPTER:
            parts = [of_b[slot, 0] @ (of_a[slot, 0] @ x[row]) for of_a, of_b in zip(a, b, strict=True)]
            result[row] += torch.cat(parts)
    return result


@pytest.mark.parametrize("slots", BATCHES.values(), ids=BATCHES)
def test_every_row_gets_its_own_adapter_and_no_other(slots: list[int]) -> None:
    """Rows of an adapter get its product, slice by slice; rows without one stay as they are, to the bit."""
    a, b = matrices()
    y, x = numbers(len(slots), sum(OUTPUTS), seed=50), numbers(len(slots), INPUTS, seed=51)
    expected, before = row_by_row(y, x, a, b, slots), y.clone()
    PackedWeights(a, b).add(y, x, group(slots))
    torch.testing.assert_close(y, expected)
    none = [row for row, slot in enumerate(slots) if slot == NO_ADAPTER]
    assert torch.equal(y[none], before[none])


def test_rows_beyond_the_batch_stay_as_they_are() -> None:
    """Padding has no adapter."""
    a, b = matrices()
    y, x = numbers(8, sum(OUTPUTS), seed=50), numbers(8, INPUTS, seed=51)
    before = y.clone()
    PackedWeights(a, b).add(y, x, group([1, 1, 0]))
    assert torch.equal(y[3:], before[3:])
    assert not torch.equal(y[:3], before[:3])


def test_an_adapter_that_is_written_into_the_views_is_the_one_used() -> None:
    """An adapter is replaced in its slot, by one of a lower rank too, after the slot was cleared."""
    a, b = matrices()
    packed = PackedWeights(a, b)
    y, x, slots = numbers(2, sum(OUTPUTS), seed=50), numbers(2, INPUTS, seed=51), [1, 0]
    packed.add(y.clone(), x, group(slots))  # so that products with the former adapter are there
    for each in (*packed.a, *packed.b):
        each[1] = 0
    packed.changed(1)
    for of_a, of_b in zip(packed.a, packed.b, strict=True):
        of_a[1, 0, : RANK - 1] = numbers(RANK - 1, INPUTS, seed=70)
        of_b[1, 0, :, : RANK - 1] = 0.5
    expected = row_by_row(y, x, packed.a, packed.b, slots)
    packed.add(y, x, group(slots))
    torch.testing.assert_close(y, expected)


@pytest.mark.parametrize("slots", BATCHES.values(), ids=BATCHES)
def test_logits_and_embeddings_get_theirs_in_their_own_type(slots: list[int]) -> None:
    """The output may be wider than the vocabulary, and of another type than the adapter."""
    a, b = (each[0] for each in matrices())
    y = numbers(len(slots), OUTPUTS[0] + 3, seed=50).to(torch.float64)
    x = numbers(len(slots), INPUTS, seed=51)
    wide = torch.cat([b, torch.zeros(SLOTS, 1, 3, RANK)], dim=2)
    expected = row_by_row(y, x, [a], [wide], slots)
    add_rows(y, x, a, b, group(slots))
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-6)

    shrunk = numbers(len(slots), RANK, seed=60)
    y = numbers(len(slots), OUTPUTS[0], seed=61)
    expected = row_by_row(y, shrunk, [torch.eye(RANK).expand(SLOTS, 1, RANK, RANK)], [b], slots)
    add_rows(y, shrunk, None, b, group(slots))
    torch.testing.assert_close(y, expected)


def test_matrices_of_another_shape_are_not_packed() -> None:
    """Of other ranks, types or dimensions: those stay vLLM's."""
    a, b = matrices()
    assert PackedWeights.can_pack(a, b)
    assert not PackedWeights.can_pack(a[0], b[0])
    assert not PackedWeights.can_pack(a, b[:2])
    assert not PackedWeights.can_pack(tuple(each[:, :, :2] for each in a), b)
    assert not PackedWeights.can_pack(a, tuple(each.to(torch.bfloat16) for each in b))
    assert not PackedWeights.can_pack((a[0][0],), (b[0][0],))
