"""POST /v1/completions and GET /v1/models as the official `openai` client uses them."""

import pytest
from openai import NotFoundError, OpenAI

from tests.support.services import Service, not_by_llama_cpp, of_each_engine

MODEL = "bondhu-demo"
EMBEDDER = "all-minilm-l6-v2"


@of_each_engine
def test_a_text_is_continued(client: OpenAI) -> None:
    """A prompt is continued for as many tokens as asked."""
    answer = client.completions.create(
        model=MODEL, prompt="My favourite song", max_tokens=6, extra_body={"ignore_eos": True}
    )
    assert answer.object == "text_completion"
    assert answer.choices[0].text
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 6


@of_each_engine
def test_an_echo_returns_the_prompt_with_its_logprobs(client: OpenAI, engine_service: Service) -> None:
    """`echo` puts the prompt before the text, and `logprobs` covers both; the first token has none."""
    with not_by_llama_cpp(engine_service, "echo"):
        answer = client.completions.create(model=MODEL, prompt="Hello there", echo=True, logprobs=2, max_tokens=3)
        (choice,) = answer.choices
        assert choice.text.startswith("Hello there")
        assert choice.logprobs is not None
        assert answer.usage is not None
        assert len(choice.logprobs.tokens or []) == answer.usage.total_tokens
        first, *others = choice.logprobs.token_logprobs or []
        assert first is None
        assert all(value is not None and value <= 0 for value in others)


@of_each_engine
def test_logprobs_of_a_completion(client: OpenAI) -> None:
    """`logprobs` gives each token's own and the best few, and where each begins in the text."""
    answer = client.completions.create(
        model=MODEL, prompt="Hello there", logprobs=2, max_tokens=5, temperature=0, extra_body={"ignore_eos": True}
    )
    (choice,) = answer.choices
    assert choice.logprobs is not None
    assert len(choice.logprobs.tokens or []) == 5
    assert all(value <= 0 for value in choice.logprobs.token_logprobs or [])
    assert all(2 <= len(each) <= 3 for each in choice.logprobs.top_logprobs or [])


@of_each_engine
def test_several_prompts_are_answered_in_order(client: OpenAI, engine_service: Service) -> None:
    """A list of prompts gives a choice each, and a batch says what single requests say."""
    prompts = ["I feel", "The film", "A game"]
    with not_by_llama_cpp(engine_service, "prompt"):
        batch = client.completions.create(model=MODEL, prompt=prompts, max_tokens=5, temperature=0)
        singles = [client.completions.create(model=MODEL, prompt=each, max_tokens=5, temperature=0) for each in prompts]
        assert [choice.index for choice in batch.choices] == [0, 1, 2]
        assert [choice.text for choice in batch.choices] == [single.choices[0].text for single in singles]


@of_each_engine
def test_token_ids_are_a_prompt(client: OpenAI) -> None:
    """An array of token ids is as good as a text."""
    answer = client.completions.create(model=MODEL, prompt=[300, 301, 302], max_tokens=3)
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 3


@of_each_engine
def test_a_completion_streams(client: OpenAI) -> None:
    """The pieces of a stream join to the plain text, and usage comes last for who asks."""
    plain = client.completions.create(model=MODEL, prompt="The weather", max_tokens=12, temperature=0)
    with client.completions.create(
        model=MODEL,
        prompt="The weather",
        max_tokens=12,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    ) as stream:
        *chunks, last = list(stream)
    assert "".join(chunk.choices[0].text for chunk in chunks) == plain.choices[0].text
    assert last.usage is not None
    assert plain.usage is not None
    assert last.usage.prompt_tokens == plain.usage.prompt_tokens
    assert last.usage.completion_tokens == plain.usage.completion_tokens


def test_the_list_names_what_can_answer(client: OpenAI) -> None:
    """GET /v1/models lists the active model, its alias, the embedder and the agents."""
    listed = {model.id: model for model in client.models.list()}
    agents = {f"bondhu/{agent}" for agent in ("auto", "chat", "games", "music", "personality", "video")}
    assert {MODEL, "bondhu", EMBEDDER} | agents == set(listed)
    assert all(model.object == "model" and model.owned_by == "bondhu" for model in listed.values())


@pytest.mark.parametrize("name", [MODEL, "bondhu", EMBEDDER])
def test_a_listed_model_can_be_retrieved(client: OpenAI, name: str) -> None:
    """GET /v1/models/{id} answers for every listed id."""
    assert client.models.retrieve(name).id == name


@pytest.mark.parametrize("name", ["gpt-4", "bondhu-demo-bf16", "org/model", "ভাষা"])
def test_an_unknown_model_cannot_be_retrieved(client: OpenAI, name: str) -> None:
    """GET /v1/models/{id} of an unknown or inactive id is 404 `model_not_found`."""
    with pytest.raises(NotFoundError) as caught:
        client.models.retrieve(name)
    assert caught.value.code == "model_not_found"
