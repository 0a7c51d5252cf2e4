"""How often the right one of fourteen facts comes first by words alone, in eight languages.

    python -m bench.recall.parallel

The facts and questions are the same in each language (`parallel.yaml`): other forms of the words, missing accents,
another spelling. No vectors: it measures tokenisation and stemming (`memory.language`). Also how many messages about
nothing (`small_talk.yaml`) are taken for small talk; the held-out half was not looked at while the lists were written.
"""

from pathlib import Path
from typing import Any

import numpy as np
import typer
import yaml

from bench.markdown import table
from memory.language.small_talk import is_small_talk
from memory.recall.bm25 import LexicalIndex

DATA = Path(__file__).with_name("parallel.yaml")
TALK = Path(__file__).with_name("small_talk.yaml")


def main() -> None:
    """Print the table of docs/recall.md."""
    data = yaml.safe_load(DATA.read_text())
    answers = data.pop("answers")
    rows = [[language, f"{right_first(texts, answers)} of {len(answers)}"] for language, texts in data.items()]
    typer.echo(table(["language", "right fact first"], rows))
    for half, texts in yaml.safe_load(TALK.read_text()).items():
        typer.echo(f"small talk, {half}: {sum(map(is_small_talk, texts))} of {len(texts)}")


def right_first(texts: dict[str, Any], answers: list[int]) -> int:
    """The number of questions whose fact is alone at the top."""
    index = LexicalIndex()
    for fact in texts["facts"]:
        index.add(fact)
    right = 0
    for question, answer in zip(texts["questions"], answers, strict=True):
        scores = np.zeros(len(index))
        for rows, gains in index.by_term(question):
            scores[rows] += gains
        right += bool(scores[answer] > np.delete(scores, answer).max())
    return right


if __name__ == "__main__":
    typer.run(main)
