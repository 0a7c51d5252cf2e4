"""A provider is one folder and one line: the real gateway, with a provider that it has never heard of."""

import json
from pathlib import Path

import httpx

from tests.support.additions import add
from tests.support.gateway_process import DEADLINE_S, GatewayProcess

IMPORT = "from models.provider import Provider"


def test_a_provider_is_a_folder_and_a_line(tmp_path: Path) -> None:
    """It answers whole and streamed where no engine does, and is in the ledger."""
    environ = add(
        tmp_path / "code",
        "models",
        "tiny_provider",
        "providers.py",
        {
            IMPORT: f"{IMPORT}\nfrom models.tiny_provider import provider as tiny",
            "(gemini.PROVIDER,)": "(gemini.PROVIDER, tiny.PROVIDER)",
        },
    )
    environ["BONDHU__EXTERNAL"] = json.dumps({"gemini": {"provider": "tiny", "model": "tiny-1"}})
    body = {"model": "bondhu", "messages": [{"role": "user", "content": "Good morning"}]}
    with GatewayProcess(tmp_path, process_environ=environ | {"TINY_API_KEY": "any"}, cwd=tmp_path / "code") as gateway:
        key = gateway.make_key("diary", tier="standard", allow_external=True)
        headers = {"authorization": f"Bearer {key}", "cache-control": "no-cache", "x-request-id": "one"}
        url = f"{gateway.url}/v1/chat/completions"
        whole = httpx.post(url, json=body, headers=headers, timeout=DEADLINE_S)
        assert whole.status_code == 200, whole.text
        assert whole.json()["choices"][0]["message"]["content"] == " Good morning"
        assert whole.headers["x-bondhu-model"] == "gemini; revision=tiny-1; quantization=external"
        stream = httpx.post(url, json=body | {"stream": True}, headers=headers, timeout=DEADLINE_S)
        assert [word in stream.text for word in (" Good", " morning", "[DONE]")] == [True] * 3
        row = httpx.get(f"{gateway.url}/v1/usage/one", headers=headers, timeout=DEADLINE_S).json()
        assert row["completion_tokens"] == 2
