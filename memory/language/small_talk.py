"""Recognises small talk: greetings, thanks, yes and no, for which nothing needs to be recalled.

It uses lists of words in the languages of `memory.language.stop_words`, and a few more. A message is small talk if all
its words are in these lists or are stop words, with at least one from these lists, or if it has no words (an emoji).
"""

from memory.language.scripts import script_of, words_of
from memory.language.stop_words import STOP_WORDS

MAX_WORDS = 12
# ruff: noqa: RUF001 - letters of other scripts are meant
_WORDS = """
hi hello hey hiya yo howdy
morning afternoon evening night good goodnight goodbye bye cya later see thanks thank thx lot lots much
please ok okay yes yeah yep nope no sure great nice cool fine well lol haha hehe hmm wow oh ah um going doing up sup
welcome sorry right agreed exactly really indeed alright luck dreams sleep tight everything there fun awesome perfect
hallo servus moin tschüss danke bitte guten gute morgen abend tag nacht geht gehts okay genau super prima gern gerne
hola buenos buenas días dias tardes noches adiós adios gracias favor vale sí claro genial estás estas tal pasa
bonjour salut merci bonsoir bonne nuit ça va d'accord oui revoir
ciao grazie prego buongiorno buonasera buonanotte bene
olá ola obrigado obrigada tudo bem bom dia boa noite tchau
dag dank doei goedemorgen goedenavond
привет здравствуй здравствуйте спасибо пожалуйста пока доброе утро добрый день вечер спокойной ночи дела ок хорошо
مرحبا أهلا اهلا شكرا السلام عليكم صباح الخير مساء النور حالك وداعا نعم حسنا
नमस्ते नमस्कार धन्यवाद शुक्रिया सुप्रभात शुभ रात्रि कैसे कैसी ठीक अच्छा हाँ हां जी अलविदा हाय हैलो
নমস্কার হ্যালো হাই ধন্যবাদ শুভ সকাল রাত্রি সন্ধ্যা কেমন আছো আছেন ভালো হ্যাঁ ঠিক আছে আচ্ছা বিদায় সালাম আসসালামু আলাইকুম
你好 您好 谢谢 早上好 晚上好 晚安 再见 好的 早安 嗨 嗯 哈哈 不客气 你好吗
こんにちは こんばんは おはよう おはようございます ありがとう ありがとうございます おやすみ さようなら はい うん 元気
สวัสดี ขอบคุณ ครับ ค่ะ 안녕 안녕하세요 감사합니다 고마워 네 잘자
merhaba selam teşekkürler günaydın iyi geceler tamam xin chào cảm ơn
"""
_SMALL = frozenset(_WORDS.split())
_PHRASES = frozenset(
    ("how are you", "how are you doing", "how is it going", "wie geht es dir", "como estas", "what s up")
)


def is_small_talk(text: str) -> bool:
    """Whether a message is small talk."""
    words = words_of(text.casefold())
    if not words or " ".join(words) in _PHRASES:
        return True
    if len(words) > MAX_WORDS or not any(word in _SMALL for word in words):
        return False
    return all(word in _SMALL or _is_grammar(word) for word in words)


def _is_grammar(word: str) -> bool:
    if script_of(word) == "latin":
        return any(word in STOP_WORDS[code] for code in ("en", "de", "es", "fr", "it", "pt", "nl"))
    return any(word in STOP_WORDS[code] for code in ("ru", "ar", "hi", "bn"))
