"""German."""

from memory.times.grammar import TimeLanguage

_ADJECTIVE = "(?:e[mnrs]?)"

GERMAN = TimeLanguage(
    months=(
        *("januar|jan[.]?|jänner", "februar|feb[.]?", "märz", "april|apr[.]?", "mai", "juni|jun[.]?", "juli|jul[.]?"),
        *("august|aug[.]?", "september|sept?[.]?", "oktober|okt[.]?", "november|nov[.]?", "dezember|dez[.]?"),
    ),
    weekdays=("montag", "dienstag", "mittwoch", "donnerstag", "freitag", "samstag|sonnabend", "sonntag"),
    numbers={
        "eine[mnrs]?|ein": 1,
        "zwei|ein paar": 2,
        "drei": 3,
        "vier": 4,
        "fünf": 5,
        "sechs": 6,
        "sieben": 7,
        "acht": 8,
        "neun": 9,
        "zehn": 10,
        "elf": 11,
        "zwölf": 12,
    },
    units={
        "day": "tag(?:e[ns]?|s)?",
        "weekend": "wochenende[ns]?",
        "week": "wochen?",
        "month": "monat(?:e[ns]?|s)?",
        "year": "jahr(?:e[ns]?|s)?",
    },
    days={"vorvorgestern": -3, "vorgestern": -2, "gestern": -1, "heute": 0, "morgen": 1, "übermorgen": 2},
    parts={
        "morning": "morgen|früh|vormittag",
        "noon": "mittag",
        "afternoon": "nachmittag",
        "evening": "abend",
        "night": "nacht",
    },
    seasons=("frühling|frühjahr", "sommer", "herbst", "winter"),
    holidays={
        "weihnachten|heiligabend": (12, 24, 3),
        "silvester": (12, 31, 1),
        "neujahr": (1, 1, 1),
        "halloween": (10, 31, 1),
        "valentinstag": (2, 14, 1),
    },
    which={
        "last": f"(?:letzt|vergangen|vorig){_ADJECTIVE}",
        "this": f"dies{_ADJECTIVE}",
        "next": f"(?:nächst|kommend){_ADJECTIVE}",
    },
    days_between=(r"(?:vom |von |zwischen dem )?{day}\. (?:bis(?: zum)?|und(?: dem)?) {day2}\. {month}(?: {year})?",),
    months_between=(r"(?:zwischen|von) {month} (?:und|bis) {month2}(?: {year})?",),
    dates=(r"{day}\. ?{month}(?: {year})?", r"{day} {month} {year}"),
    month_of_year=(r"{month} {year}",),
    decade=(r"den (?P<decade>(?:19|20)?\d0)er(?:n|[ -]jahren)?",),
    ago=(r"vor {n} {unit}",),
    lately=(rf"(?:den |die |der )?(?:letzt|vergangen){_ADJECTIVE} {{n}} {{unit}}",),
    ahead=(r"in {n} {unit}",),
    last_night=(r"(?:letzte|gestern|vergangene) nacht",),
    tonight=("heute nacht",),
    day_with_part=("{name_of_day} ?{part}",),
    this_part=(r"diesen {part}",),
    relative=(r"{which} {unit}",),
    on_weekday=(r"{which} {weekday}(?:s?{part}| {part})?", r"(?:am|seit|bis|ab|jeden) {weekday}(?:{part}| {part})?"),
    in_season=(r"{which} {season}", r"{season} {year}"),
    on_holiday=(r"{which} {holiday}", r"{holiday}(?: {year})?"),
    month=(r"(?:im|seit|ab|bis|{which}) {month}",),
    year=(
        r"(?:in|im jahr|seit|ab|bis|anfang|mitte|ende|jahr|habe ich|bin ich|war ich|wo|was|wann|wer) {year}",
        "{year}",
    ),
    since=r"\b(?:seit|ab)(?: dem)? \u25cf|\u25cf(?:seit|ab)\b",
    future=r"\b(?:werden?|wird|wirst|werdet|geplant|plane|vorhaben?)\b",
)
