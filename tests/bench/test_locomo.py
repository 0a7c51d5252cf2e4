"""Reading LoCoMo's file in both of its formats, on a conversation made up for it."""

from datetime import UTC, datetime
from pathlib import Path

import orjson

from bench.recall.locomo import Conversation, Question, read

PUBLISHED = [
    {
        "sample_id": "made-up",
        "conversation": {
            "speaker_a": "Ann",
            "speaker_b": "Bob",
            "session_10_date_time": "12:05 am on 1 March, 2024",
            "session_10": [{"speaker": "Bob", "dia_id": "D10:1", "text": "Hi again", "blip_caption": "a red boat"}],
            "session_2_date_time": "1:30 pm on 9 February, 2024",
            "session_2": [{"speaker": "Ann", "dia_id": "D2:1", "text": "Hi"}],
        },
        "qa": [
            {"question": "Who has a boat?", "category": 4, "evidence": ["D10:1; D2:1"]},
            {"question": "What was never said?", "category": 5, "evidence": ["D2:1"]},
            {"question": "Where is the evidence?", "category": 1, "evidence": ["D9:9"]},
        ],
    }
]
CORRECTED = {
    "conversations": [
        {
            "id": "made-up",
            "sessions": [
                {
                    "number": 2,
                    "date_time": "1:30 pm on 9 February, 2024",
                    "turns": [{"id": "D2:1", "speaker": "Ann", "text": "Hi", "caption": None}],
                },
                {
                    "number": 10,
                    "date_time": "12:05 am on 1 March, 2024",
                    "turns": [{"id": "D10:1", "speaker": "Bob", "text": "Hi again", "caption": "a red boat"}],
                },
            ],
            "questions": [
                {"question": "Who has a boat?", "category": "single-hop", "evidence": ["D10:1", "D2:1"]},
                {"question": "What was never said?", "category": "adversarial", "evidence": ["D2:1"]},
            ],
        }
    ]
}


def _read(data: object, folder: Path) -> list[Conversation]:
    file = folder / "data.json"
    file.write_bytes(orjson.dumps(data))
    return read(file)


def test_both_formats_say_the_same(tmp_path: Path) -> None:
    """The published and the corrected file of one conversation are read as the same turns and questions."""
    assert _read(PUBLISHED, tmp_path) == _read(CORRECTED, tmp_path)


def test_sessions_are_in_order_and_only_answerable_questions_count(tmp_path: Path) -> None:
    """Session 10 follows session 2, a picture is its caption, and questions without evidence are left out."""
    (conversation,) = _read(PUBLISHED, tmp_path)
    assert [turn.text for turn in conversation.turns] == ["Hi", "Hi again [a red boat]"]
    assert [turn.conversation for turn in conversation.turns] == ["2", "10"]
    assert conversation.ends == datetime(2024, 3, 1, 0, 5, tzinfo=UTC)
    assert conversation.questions == (Question("Who has a boat?", "single-hop", frozenset({"D10:1", "D2:1"})),)
