"""Token ids of another tokenizer are told from the model's own by the special tokens around a text."""

import pytest

from serving.engines.token_ids import problem_of

BERT, LLAMA, T5, SIZE = [101, 102], [1], [2], 30522


@pytest.mark.parametrize(("ids", "frame"), [([101, 7592, 102], BERT), ([1, 7, 8], LLAMA), ([7, 8, 2], T5)])
def test_a_models_own_ids_are_taken(ids: list[int], frame: list[int]) -> None:
    """They stand within its special tokens, before, after or around the text."""
    assert problem_of(ids, frame, SIZE) is None


@pytest.mark.parametrize(
    ("ids", "frame"),
    [([15339, 1917], BERT), ([101], BERT), ([101, 7592], BERT), ([7592, 102], BERT), ([7, 8], LLAMA), ([7], [])],
)
def test_others_are_refused_with_the_remedy(ids: list[int], frame: list[int]) -> None:
    """Also where nothing stands around a text, so that nobody could tell."""
    assert "check_embedding_ctx_length=False" in (problem_of(ids, frame, SIZE) or "")


def test_an_id_beyond_the_vocabulary_is_named() -> None:
    """With what is in it."""
    assert "0..30521" in (problem_of([101, 50_000, 102], BERT, SIZE) or "")
