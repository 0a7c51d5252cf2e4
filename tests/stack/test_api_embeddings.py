"""POST /v1/embeddings as the official `openai` client uses it: real sentence-transformers vectors."""

import base64
from typing import Any

import numpy
import pytest
from openai import AsyncOpenAI, BadRequestError, OpenAI
from openai.types import CreateEmbeddingResponse

MODEL = "all-minilm-l6-v2"
HELLO_WORLD_IDS = [101, 7592, 2088, 102]  # of the model's vocabulary, BERT's, with its special tokens


def vectors(answer: CreateEmbeddingResponse) -> numpy.ndarray:
    """The answer's rows as a matrix."""
    return numpy.array([row.embedding for row in answer.data])


def test_a_text_becomes_a_unit_vector(client: OpenAI) -> None:
    """384 numbers of length one, with usage."""
    answer = client.embeddings.create(model=MODEL, input="hello world")
    (vector,) = vectors(answer)
    assert vector.shape == (384,)
    assert numpy.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    assert answer.model == MODEL
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == 4  # [CLS] hello world [SEP]


def test_both_encodings_say_the_same(client: OpenAI) -> None:
    """`float` is an array of numbers, `base64` the same as little-endian float32."""
    as_float = client.embeddings.create(model=MODEL, input="hello", encoding_format="float")
    raw = client.embeddings.with_raw_response.create(model=MODEL, input="hello", encoding_format="base64")
    encoded = raw.http_response.json()["data"][0]["embedding"]
    decoded = numpy.frombuffer(base64.b64decode(encoded), dtype="<f4")
    numpy.testing.assert_allclose(decoded, as_float.data[0].embedding, atol=1e-6)


def test_a_batch_keeps_its_order(client: OpenAI) -> None:
    """Each row of a batch is the vector of its text alone, in the order given."""
    texts = ["I love jazz.", "It rains in Dhaka.", "Which game shall we play?"] * 11
    batch = client.embeddings.create(model=MODEL, input=texts)
    assert [row.index for row in batch.data] == list(range(len(texts)))
    singles = numpy.concatenate([vectors(client.embeddings.create(model=MODEL, input=each)) for each in texts[:3]])
    numpy.testing.assert_allclose(vectors(batch)[:3], singles, atol=1e-4)


async def test_concurrent_requests_do_not_mix(async_client: AsyncOpenAI) -> None:
    """Requests that the server batches together each get their own vectors."""
    import asyncio

    texts = [f"the number {number} is my favourite" for number in range(24)]
    apart = await asyncio.gather(*(async_client.embeddings.create(model=MODEL, input=text) for text in texts))
    together = await async_client.embeddings.create(model=MODEL, input=texts)
    numpy.testing.assert_allclose(numpy.concatenate([vectors(each) for each in apart]), vectors(together), atol=1e-4)


def test_meaning_is_near(client: OpenAI) -> None:
    """Texts of one meaning are closer to each other than to a text of another."""
    answer = client.embeddings.create(
        model=MODEL, input=["A cat sleeps on the sofa.", "A kitten naps on the couch.", "The bank raised its rates."]
    )
    cat, kitten, bank = vectors(answer)
    assert cat @ kitten > 0.5 > 0.3 > cat @ bank


def test_token_ids_mean_their_text(client: OpenAI) -> None:
    """One array of token ids, and an array of such, embed as the text that they stand for."""
    text = vectors(client.embeddings.create(model=MODEL, input="hello world"))
    one = vectors(client.embeddings.create(model=MODEL, input=HELLO_WORLD_IDS))
    many = vectors(client.embeddings.create(model=MODEL, input=[HELLO_WORLD_IDS, HELLO_WORLD_IDS]))
    numpy.testing.assert_allclose(one, text, atol=1e-5)
    numpy.testing.assert_allclose(many, numpy.concatenate([text, text]), atol=1e-5)


@pytest.mark.parametrize("ids", [[15339, 1917], [[9906], [1820, 8415]], [7592, 2088], [101, 7592]])
def test_token_ids_of_another_tokenizer_are_refused(client: OpenAI, ids: list[Any]) -> None:
    """LangChain sends those of OpenAI's tokenizer by default; their vector would be confidently wrong."""
    with pytest.raises(BadRequestError, match="check_embedding_ctx_length=False") as caught:
        client.embeddings.create(model=MODEL, input=ids)
    assert caught.value.param == "input"


def test_the_models_own_dimensions_may_be_requested(client: OpenAI) -> None:
    """`dimensions` is accepted when it is 384, and refused otherwise."""
    assert vectors(client.embeddings.create(model=MODEL, input="hi", dimensions=384)).shape == (1, 384)
    with pytest.raises(BadRequestError) as caught:
        client.embeddings.create(model=MODEL, input="hi", dimensions=128)
    assert caught.value.param == "dimensions"


def test_the_reply_says_what_answered(client: OpenAI) -> None:
    """`x-bondhu-model` names the embedder."""
    raw = client.embeddings.with_raw_response.create(model=MODEL, input="hi")
    assert raw.headers["x-bondhu-model"].startswith(MODEL)
