"""`bondhu chat`: a terminal chat with the running service, through OpenAI's client."""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from serving.cli import completion
from serving.cli.console import Exit, fail, out, settings_or_exit
from serving.config.addresses import gateway_url
from serving.config.credentials import API_KEY, dev_env, read_env_file
from serving.config.errors import suggest
from serving.config.model_ids import GENERATING

if TYPE_CHECKING:  # importing the client takes a second, which `--help` must not wait for
    from openai import OpenAI, Stream
    from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam


def chat(
    model: Annotated[
        str | None, typer.Option(help="Model id; default: the active model.", autocompletion=completion.generating)
    ] = None,
    system: Annotated[str | None, typer.Option(help="System message.")] = None,
    once: Annotated[str | None, typer.Option("--once", help="Send this message, print the reply, and exit.")] = None,
    base_url: Annotated[str | None, typer.Option(help="Another endpoint, such as http://host:8000/v1.")] = None,
) -> None:
    """Chat with the service in the terminal; /new starts a new conversation, /quit (or Ctrl-D) exits."""
    import openai

    settings = settings_or_exit()
    key = os.environ.get(API_KEY) or read_env_file(dev_env(settings.var_dir)).get(API_KEY)
    if key is None:
        fail(f"no API key found: start the service (`bondhu up`) or set {API_KEY}", Exit.NOT_RUNNING)
    client = openai.OpenAI(base_url=base_url or f"{gateway_url(settings)}/v1", api_key=key, max_retries=1)
    opening: list[ChatCompletionMessageParam] = [{"role": "system", "content": system}] if system else []
    history = list(opening)
    name = model or settings.ids.answers(settings.models.alias)
    try:
        if once is not None:
            _exchange(client, name, history, once)
            return
        out.print(f"[dim]{name}; /new starts a new conversation, /quit exits[/dim]")
        while (line := _read_line()) is not None:
            if line == "/new":
                history = list(opening)
            elif line:
                _exchange(client, name, history, line)
    except openai.APIConnectionError:
        fail(f"no service at {client.base_url}: start it with `bondhu up`", Exit.NOT_RUNNING)
    except openai.NotFoundError as refusal:
        fail(f"{refusal.message}{suggest(name, settings.ids.of(*GENERATING, served=True))}")
    except openai.APIStatusError as refusal:
        fail(
            f"{refusal.status_code}: {refusal.message}", Exit.NOT_RUNNING if refusal.status_code == 503 else Exit.FAILED
        )


def _read_line() -> str | None:
    try:
        line = input("> ").strip()
    except (EOFError, KeyboardInterrupt):
        out.print()
        return None
    return None if line in ("/quit", "/exit") else line


def _exchange(client: "OpenAI", model: str, history: "list[ChatCompletionMessageParam]", line: str) -> None:
    """Send a message with the history, print the reply as it arrives, and add both to the history."""
    history.append({"role": "user", "content": line})
    stream = _ask(client, model, history)
    texts: list[str] = []
    try:
        for text in _texts(stream):
            texts.append(text)
            out.print(text, end="", markup=False, soft_wrap=True)
    except KeyboardInterrupt:
        stream.close()  # the engine stops too
    out.print()
    history.append({"role": "assistant", "content": "".join(texts)})


def _ask(client: "OpenAI", model: str, history: "list[ChatCompletionMessageParam]") -> "Stream[ChatCompletionChunk]":
    """Request a reply; the oldest messages are dropped if the history exceeds the model's context."""
    import openai

    while True:
        try:
            return client.chat.completions.create(model=model, messages=history, stream=True)
        except openai.BadRequestError as refusal:
            kept = next((at for at, message in enumerate(history) if message["role"] != "system"), 0)
            if refusal.code != "context_length_exceeded" or len(history) - kept < 3:
                raise
            del history[kept : kept + 2]


def _texts(stream: "Iterable[object]") -> "Iterable[str]":
    for chunk in stream:
        for choice in getattr(chunk, "choices", ()):
            if choice.delta.content:
                yield choice.delta.content
