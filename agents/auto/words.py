r"""How music, videos and games are requested in languages other than English: the things, and the verbs of asking.

A thing near a verb of asking is a request; in languages whose verb stands last, a thing before it. So are some verbs
that need no thing ("what shall I watch?"). Where the thing stands last, a few words that end in it are one too, if none
of them makes it somebody's. A message that only names a thing may be a request. Words end where neither letters nor the
vowel signs of Bengali and Hindi go on, which `\b` takes for no letters.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_LETTER = r"[\w\u0900-\u0963\u0970-\u09ff]"  # vowel signs too, and no danda
_BEFORE, _AFTER = f"(?<!{_LETTER})", f"(?!{_LETTER})"
NEAR = 40  # characters between the thing and the verb


@dataclass(frozen=True, slots=True)
class Words:
    """Of an agent, in a language.

    Attributes:
        things: what is wanted.
        asks: verbs of asking for it.
        whole: what asks by itself.
        verb_last: the verb stands after the thing.
        bare: the thing, at the end, asks without a verb.

    """

    things: str
    asks: str
    whole: str = ""
    verb_last: bool = False
    bare: bool = False


_GIVE_BN = "দাও|চাই|খুঁজে দাও|খুঁজে দিন|বলো"
_GIVE_HI = "दो|दीजिए|दीजिये|चाहिए|चाहिये|ढूंढो|ढूँढो|बताओ|बताइए"
_GIVE_LATIN = "dao|de do|dijiye|chahiye|dhundo|batao"
_NOT_A_REQUEST = (
    "আমি|আমার|আমাদের|আমরা|তুমি|তোমার|সে|তার|ওর|ওরা|তারা|তাদের|এই|ওই|সেই|এটা|না|নেই|"
    "मैं|मेरा|मेरी|मेरे|हम|हमारा|हमारी|हमारे|तुम|तुम्हारा|वह|वो|उसका|उसकी|उनका|यह|ये|इस|उस|यही|नहीं|मत"
)

WORDS: Mapping[str, Sequence[Words]] = {
    "music": (
        Words(
            r"গান|গানের|গানগুলো|[\w\u0980-\u09ff]{0,20}সঙ্গীত|[\w\u0980-\u09ff]{0,20}সংগীত|প্লেলিস্ট|গজল",
            "শোনাও|শোনান|শোনা|শুনাও|চালাও|চালান|চালিয়ে দাও|বাজাও|বাজান|লাগাও|ছাড়ো|শুনতে চাই|শুনবো|শুনব|বানাও|" + _GIVE_BN,
            verb_last=True,
            bare=True,
        ),
        Words(
            "गाना|गाने|गानों|गीत|संगीत|म्यूजिक|म्यूज़िक|भजन|ग़ज़ल|गजल|प्लेलिस्ट",
            "सुनाओ|सुनाइए|सुना दो|बजाओ|बजाइए|बजा दो|चलाओ|चलाइए|चला दो|लगाओ|लगाइए|लगा दो|सुनना है|सुनने हैं|सुनना चाहता|"
            "सुनना चाहती|बनाओ|" + _GIVE_HI,
            verb_last=True,
            bare=True,
        ),
        Words(
            "gaan|gaana|gana|gaane|gane|geet|sangeet",
            "shonao|shunao|sonao|sunao|suna do|bajao|baja do|chalao|chala do|lagao|laga do|sunna hai|shunte chai|do|"
            + _GIVE_LATIN,
            verb_last=True,
        ),
        Words(
            "m[úu]sica|canci[óo]n|canciones|temas?|playlist|lista de reproducci[óo]n",
            "pon|ponme|poner|toca|t[óo]came|dame|"
            "b[úu]sca|b[úu]scame|recomi[ée]nda|recomi[ée]ndame|quiero (?:o[íi]r|escuchar)",
            "qu[ée] (?:puedo|podemos) escuchar",
        ),
        Words(
            "musique|chansons?|morceaux?|playlist",
            "mets|mettez|joue|jouez|cherche|trouve|recommande|conseille|(?:veux|voudrais|aimerais) [ée]couter|fais",
            "quoi [ée]couter|que puis-je [ée]couter",
        ),
        Words(
            "musik|lied|lieder|songs?|playlist",
            r"spiel|spiele|mach|suche|finde|empfiehl|zeig|(?:m[öo]chte|will|w[üu]rde gern)(?: \w{1,20}){0,4} h[öo]ren",
            "was (?:soll|kann|k[öo]nnte) ich (?:h[öo]ren|anh[öo]ren)",
        ),
        Words(
            "m[úu]sicas?|can[çc][ãa]o|can[çc][õo]es|playlist",
            "toca|toque|coloca|coloque|p[õo]e|procura|recomenda|recomende|quero ouvir|faz",
        ),
    ),
    "video": (
        Words(
            "ভিডিও|ভিডিওগুলো|তথ্যচিত্র|প্রামাণ্যচিত্র|ডকুমেন্টারি",
            "দেখাও|দেখান|দেখতে চাই|দেখবো|দেখব|চালাও|চালান|" + _GIVE_BN,
            "ক[িী] (?:দেখব|দেখবো|দেখা যায়|দেখতে পারি)",
            verb_last=True,
            bare=True,
        ),
        Words(
            "वीडियो|विडियो|डॉक्यूमेंट्री|वृत्तचित्र",
            "दिखाओ|दिखाइए|दिखा दो|देखना है|देखने हैं|चलाओ|लगाओ|" + _GIVE_HI,
            "क्या देखूँ|क्या देखूं|क्या देखें|क्या देख सकता|क्या देख सकती",
            verb_last=True,
            bare=True,
        ),
        Words(
            "video|videos|documentary",
            "dekhao|dekhan|dekhte chai|dikhao|dikha do|dekhna hai|chalao|" + _GIVE_LATIN,
            "k[iy]a dekhun?|k[iy]a dekhen?|ki dekhbo|ki dekhi",
            verb_last=True,
        ),
        Words(
            "v[íi]deos?|documental(?:es)?|charlas?",
            "mu[ée]strame|ens[ée][ñn]ame|pon|ponme|b[úu]sca|b[úu]scame|recomi[ée]nda|recomi[ée]ndame|quiero ver|dame",
            "qu[ée] (?:puedo|podemos|podr[íi]a) ver",
        ),
        Words(
            "vid[ée]os?|documentaires?|reportages?",
            "montre|montre-moi|montrez|mets|cherche|trouve|recommande|conseille|"
            "(?:veux|voudrais|aimerais) (?:voir|regarder)",
            "quoi regarder|que (?:puis-je|regarder)",
        ),
        Words(
            "videos?|dokus?|dokumentation(?:en)?|dokumentarfilm|clips?|vortrag",
            "zeig|zeige|suche|finde|empfiehl|"
            r"(?:m[öo]chte|will|w[üu]rde gern)(?: \w{1,20}){0,5} (?:sehen|anschauen|schauen)",
            "was (?:soll|kann|k[öo]nnte) ich (?:schauen|gucken|ansehen|anschauen)",
        ),
        Words(
            "v[íi]deos?|document[áa]rios?",
            "mostra|mostre|procura|recomenda|recomende|quero ver|quero assistir|coloca",
            "o que (?:posso|podemos) (?:ver|assistir)",
        ),
    ),
    "games": (
        Words(
            "খেলা|গেম|ধাঁধা|কুইজ",
            "খেলি|খেলবো|খেলব|খেলবে|খেলবেন|খেলো|খেলতে চাই|খেলা যাক|শুরু করো|শুরু করি",
            "চলো খেলি|চল খেলি|চলো খেলা যাক",
            verb_last=True,
        ),
        Words("ধাঁধা|কুইজ", "ধরো|জিজ্ঞেস করো|" + _GIVE_BN, verb_last=True),
        Words(
            "खेल|गेम|पहेली|पहेलियाँ|क्विज़|क्विज|हैंगमैन",
            "खेलते हैं|खेलें|खेलेंगे|खेलो|खेलोगे|खेलिए|खेलना है|खेलना चाहता|खेलना चाहती|शुरू करो",
            "चलो खेलते हैं|आओ खेलें|चलो खेलें",
            verb_last=True,
        ),
        Words("पहेली|पहेलियाँ|क्विज़|क्विज", "पूछो|पूछिए|" + _GIVE_HI, verb_last=True),
        Words(
            "khela|khel|game|games|dhadha|paheli|quiz",
            "kheli|khelbo|khelbe|khelo|khelte chai|khelte hain|khelen|khelna hai|poocho|pucho",
            "cholo kheli|chalo khelte hain",
            verb_last=True,
        ),
        Words(
            "juegos?|adivinanzas?|ahorcado|trivia|quiz|veinte preguntas|tres en raya",
            "juguemos|jugamos|vamos a jugar|(?:quiero|quieres|podemos) jugar|dime|hazme|ponme",
            "juguemos|vamos a jugar",
        ),
        Words(
            "jeux?|devinettes?|pendu|quiz|charades?|morpion|vingt questions",
            "jouons|on joue|(?:veux|veux-tu|voudrais|peut|pouvons-nous) jouer|pose-moi|fais-moi",
            "on joue|jouons",
        ),
        Words(
            "spiel|spiele|r[äa]tsel|quiz|galgenm[äa]nnchen|wortkette|tic-tac-toe|zwanzig fragen",
            r"lass uns|spielen wir|wollen wir|(?:m[öo]chte|will|kannst du|k[öo]nnen wir)(?: \w{1,20}){0,4} spielen|"
            "stell mir|gib mir",
            "lass uns (?:etwas |was )?spielen|spielen wir (?:etwas|was)",
        ),
        Words(
            "jogos?|adivinhas?|adivinha[çc][ãa]o|forca|quiz|jogo da velha",
            "vamos jogar|quero jogar|podemos jogar|joga comigo|faz-me|me faz",
            "vamos jogar",
        ),
    ),
}


def _compiled(expression: str) -> re.Pattern[str]:
    return re.compile(expression, re.IGNORECASE)


def _word(words: str) -> str:
    return f"{_BEFORE}(?:{words}){_AFTER}"


def _sure(words: Words) -> re.Pattern[str]:
    things, asks = _word(words.things), _word(words.asks)
    ways = [rf"{things}.{{0,{NEAR}}}{asks}"]
    if not words.verb_last:
        ways.append(rf"{asks}.{{0,{NEAR}}}{things}")
    if words.whole:
        ways.append(_word(words.whole))
    if words.bare:
        ways.append(rf"^(?!.*{_word(_NOT_A_REQUEST)})\W*(?:\S{{1,30}}\s+){{0,6}}{things}\W*$")
    return _compiled("|".join(ways))


SURE = {agent: tuple(map(_sure, words)) for agent, words in WORDS.items()}
MAYBE = {agent: tuple(_compiled(_word(each.things)) for each in words) for agent, words in WORDS.items()}
