"""What an application's tests may look like: an OpenAI client reads its address and key from the environment."""

from openai import OpenAI


def test_the_application_gets_an_answer() -> None:
    """A chat and a stream of a real model."""
    client = OpenAI()
    question = [{"role": "user", "content": "Hello! I am Maya."}]
    answer = client.chat.completions.create(model="bondhu", messages=question, max_tokens=16)
    assert answer.choices[0].message.content
    stream = client.chat.completions.create(model="bondhu", messages=question, max_tokens=16, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
