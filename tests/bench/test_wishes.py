"""The sentences of `bench.wishes` with a model that says the same of each: it never makes more of one than it names."""

import json

import pytest

from bench.wishes.sentences import read
from memory.intents.detector import Forget, ForgetAll, Lift, Mute, detect, has_words_of_intents
from memory.intents.model_answer import REQUESTS, combined


@pytest.mark.parametrize("request_", REQUESTS)
def test_no_answer_makes_more_of_a_sentence_than_it_names(request_: str) -> None:
    """What is found is in the message, or the patterns found it too; everything is forgotten only if both say so."""
    texts = [each.text for language in read() for each in language.sentences if has_words_of_intents(each.text)]
    assert len(texts) > 300
    for text in texts:
        about = text[len(text) // 2 :]
        before = detect(text)
        after = combined(text, before, json.dumps({"request": request_, "about": about, "is_statement": False}))
        assert not isinstance(after, ForgetAll) or before == ForgetAll()
        if isinstance(after, Forget | Mute | Lift) and after.about is not None and after != before:
            assert after.about in text
