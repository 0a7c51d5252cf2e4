"""What the Gemini API accepts, as far as Google documents it: shape, order of the conversation, numbers, models.

https://ai.google.dev/api/generate-content, .../docs/thought-signatures, .../docs/thinking; wordings of errors are those
that clients report. `complaint` returns Google's error body for a request, or None.
"""

import base64
import re
from typing import Any

Json = dict[str, Any]

MODELS = ("gemini-2.0-flash", "gemini-2.5-flash", "gemini-2.5-flash-lite", "gemini-2.5-pro")
SIGNING_MODELS = ("gemini-3-flash-preview", "gemini-3.1-flash-lite", "gemini-3.1-pro-preview")
SKIP = base64.b64encode(b"skip_thought_signature_validator").decode()

BLOB: Json = {"mimeType": None, "data": None}
PART: Json = {
    "text": None,
    "inlineData": BLOB,
    "functionCall": {"id": None, "name": None, "args": None},
    "functionResponse": {"id": None, "name": None, "response": None},
    "thought": None,
    "thoughtSignature": None,
}
CONTENT: Json = {"role": None, "parts": [PART]}
REQUEST: Json = {
    "contents": [CONTENT],
    "systemInstruction": CONTENT,
    "tools": [{"functionDeclarations": [{"name": None, "description": None, "parametersJsonSchema": None}]}],
    "toolConfig": {"functionCallingConfig": {"mode": None, "allowedFunctionNames": None}},
    "generationConfig": {
        **dict.fromkeys(("temperature", "topP", "topK", "seed", "candidateCount", "maxOutputTokens", "stopSequences")),
        **dict.fromkeys(("responseMimeType", "responseJsonSchema", "presencePenalty", "frequencyPenalty")),
        "thinkingConfig": {"thinkingBudget": None, "thinkingLevel": None, "includeThoughts": None},
    },
}


def normal(value: Any, shape: Any = REQUEST) -> Any:
    """The request with its fields' names in camel case; like every Google API, this one takes snake case, too."""
    if isinstance(shape, list) and isinstance(value, list):
        return [normal(item, shape[0]) for item in value]
    if not isinstance(shape, dict) or not isinstance(value, dict):
        return value
    named = {re.sub(r"_([a-z])", lambda match: match[1].upper(), name): inner for name, inner in value.items()}
    return {name: normal(inner, shape.get(name)) for name, inner in named.items()}


def error(code: int, status: str, message: str, *details: Json) -> Json:
    """Google's error envelope."""
    return {"error": {"code": code, "message": message, "status": status, "details": list(details)}}


def invalid(message: str, field: str | None = None) -> Json:
    """An INVALID_ARGUMENT, with the violation where Google gives one."""
    detail = {
        "@type": "type.googleapis.com/google.rpc.BadRequest",
        "fieldViolations": [{"field": field, "description": message}],
    }
    return error(400, "INVALID_ARGUMENT", message, *([detail] if field else []))


def complaint(model: str, request: Json, signatures: set[str]) -> Json | None:
    """Google's error for the request, or None; `signatures` are those that it issued."""
    return (
        _unknown(request, REQUEST, "")
        or _contents(request.get("contents") or [])
        or (_signatures(request["contents"], signatures) if model in SIGNING_MODELS else None)
        or _numbers(request.get("generationConfig", {}))
        or _thinking(model, request.get("generationConfig", {}).get("thinkingConfig"))
        or _tools(model, request)
    )


def _unknown(value: Any, shape: Any, path: str) -> Json | None:
    if isinstance(shape, list):
        each = (_unknown(item, shape[0], f"{path}[{index}]") for index, item in enumerate(value))
        return next((found for found in each if found), None)
    if shape is None:
        return None
    for name, inner in value.items():
        if name not in shape:
            return invalid(
                f"Invalid JSON payload received. Unknown name \"{name}\" at '{path}': Cannot find field.", path
            )
        if found := _unknown(inner, shape[name], f"{path}.{name}".lstrip(".")):
            return found
    return None


def _contents(contents: list[Json]) -> Json | None:
    if not contents:
        return invalid("* GenerateContentRequest.contents: contents is not specified", "contents")
    before: Json = {"role": "model", "parts": []}
    for index, content in enumerate(contents):
        where = f"contents[{index}]"
        if content.get("role") not in ("user", "model"):
            return invalid("Please use a valid role: user, model.", where)
        if content["role"] == before["role"]:
            return invalid("Please ensure that multiturn requests alternate between user and model.", where)
        parts = content.get("parts") or []
        if not parts or any(
            len(set(part) - {"thought", "thoughtSignature"}) != 1 or part.get("text") == "" for part in parts
        ):
            return invalid(f"* GenerateContentRequest.{where}.parts: must have one initialized field", where)
        calls = sum("functionCall" in part for part in before["parts"])
        if calls != sum("functionResponse" in part for part in parts):
            return invalid(
                "Please ensure that the number of function response parts is equal to the number of function call "
                "parts of the function call turn."
            )
        before = content
    if before["role"] == "model":
        return invalid("Requests whose last turn has the role model are not supported.", "contents")
    return None


def _signatures(contents: list[Json], sent: set[str]) -> Json | None:
    """The first call of each of the model's steps since the user last wrote must be signed, and by Google."""
    texts = (
        index for index, content in enumerate(contents) if content["role"] == "user" and "text" in content["parts"][0]
    )
    turn = contents[max(texts, default=0) :]
    for position, content in enumerate(turn):
        calls = [part for part in content["parts"] if "functionCall" in part]
        if calls and "thoughtSignature" not in calls[0]:
            name = calls[0]["functionCall"]["name"]
            return invalid(
                "Function call is missing a thought_signature in functionCall parts. Additional data, function call "
                f"`default_api:{name}` , position {position}."
            )
    for content in contents:
        for part in content["parts"]:
            if part.get("thoughtSignature", SKIP) not in sent | {SKIP}:
                return invalid("Thought signature is not valid.")
    return None


def _numbers(config: Json) -> Json | None:
    limits = {"temperature": (0, 2), "topP": (0, 1), "maxOutputTokens": (1, 65536), "candidateCount": (1, 1)}
    for name, (minimum, maximum) in limits.items():
        if not minimum <= config.get(name, minimum) <= maximum:
            return invalid(f"{name} must be in the range [{minimum}, {maximum}].", f"generation_config.{_snake(name)}")
    if len(config.get("stopSequences", ())) > 5:
        return invalid("At most 5 stop sequences.", "generation_config.stop_sequences")
    if config.get("presencePenalty") or config.get("frequencyPenalty"):
        return invalid("Penalty is not enabled for this model", "generation_config.presence_penalty")
    if "responseJsonSchema" in config and config.get("responseMimeType") != "application/json":
        return invalid(
            "response_json_schema needs the mime type application/json", "generation_config.response_mime_type"
        )
    return None


def _thinking(model: str, config: Json | None) -> Json | None:
    if config is None:
        return None
    field = "generation_config.thinking_config"
    if "thinkingBudget" in config and "thinkingLevel" in config:
        return invalid("You can only set one of thinking budget and thinking level.", field)
    if model.startswith("gemini-2.0"):
        return invalid("Thinking is not enabled for this model", field)
    if "thinkingLevel" in config:
        if model not in SIGNING_MODELS or (config["thinkingLevel"] == "MINIMAL" and "pro" in model):
            return invalid("Thinking level is not supported for this model.", field)
        return None
    least = 128 if "pro" in model else 0
    if not least <= config.get("thinkingBudget", least) <= 24576 or model in SIGNING_MODELS:
        return invalid(f"The thinking budget is invalid. Please choose a value between {least} and 24576.", field)
    return None


def _tools(model: str, request: Json) -> Json | None:
    declared = {each["name"] for tool in request.get("tools", ()) for each in tool["functionDeclarations"]}
    calling = request.get("toolConfig", {}).get("functionCallingConfig", {})
    allowed = calling.get("allowedFunctionNames") or []
    if allowed and calling.get("mode") != "ANY":
        return invalid("allowed_function_names may only be set with the mode ANY.", "tool_config")
    if not set(allowed) <= declared:
        return invalid(f"allowed_function_names: {allowed} are not declared.", "tool_config")
    if declared and model not in SIGNING_MODELS and "responseMimeType" in request.get("generationConfig", {}):
        return invalid("Function calling with a response mime type: 'application/json' is unsupported")
    return None


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
