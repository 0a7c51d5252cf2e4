"""Crisis helplines, by country.

Each line was read on the page named beside it, on the day named beside it; a number that no such page confirms is not
listed. There is no default: for an unknown country the two directories are named, which cover every country. Add a
country with its source and the day. `python -m agents.safety.helplines` lists what was not checked for a year.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

CHECK_AGAIN = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Helpline:
    """A crisis service.

    Attributes:
        name: its own.
        contact: how it is reached, as told to a person.
        source: the page that says so.
        checked: when that page was read.

    """

    name: str
    contact: str
    source: str
    checked: date


# Of every country, and kept up to date by others.
DIRECTORIES: tuple[Helpline, ...] = (
    Helpline("Find A Helpline", "https://findahelpline.com", "https://findahelpline.com", date(2026, 11, 27)),
    Helpline(
        "International Association for Suicide Prevention",
        "https://www.iasp.info/crisis-centres-helplines/",
        "https://iasp.info",
        date(2026, 11, 27),
    ),
)

_DAY = date(2026, 11, 27)
_SAMARITANS = Helpline(
    "Samaritans", "call 116 123", "https://www.samaritans.org/how-we-can-help/contact-samaritan/", _DAY
)

HELPLINES: Mapping[str, tuple[Helpline, ...]] = {  # by ISO 3166-1's two letters
    "AU": (
        Helpline(
            "Lifeline",
            "call 13 11 14",
            "https://www.suicidepreventionaust.org/october-member-of-the-month-lifeline/",
            _DAY,
        ),
    ),
    "BD": (Helpline("Kaan Pete Roi", "https://kaanpeteroi.org", "https://kaanpeteroi.org/who-we-are/", _DAY),),
    "BR": (
        Helpline(
            "CVV",
            "call 188",
            "https://www.hercampus.com/school/casper-libero/escuta-que-transforma-como-o-cvv-salva-vidas/",
            _DAY,
        ),
    ),
    "CA": (
        Helpline(
            "9-8-8 Suicide Crisis Helpline",
            "call or text 988",
            "https://mentalhealthcommission.ca/catalyst/988-launches-in-canada/",
            _DAY,
        ),
    ),
    "DE": (
        Helpline("TelefonSeelsorge", "call 0800 111 0 111", "https://www.domradio.de/glossar/telefonseelsorge-0", _DAY),
    ),
    "ES": (
        Helpline(
            "L\u00ednea 024",
            "call 024",
            "https://www.rtve.es/noticias/20220509/sanidad-presenta-telefono-prevencion-suicidio/2347183.shtml",
            _DAY,
        ),
    ),
    "FR": (Helpline("3114", "call 3114", "https://3114.fr/que-se-passe-t-il-quand-je-contacte-le-3114/", _DAY),),
    "GB": (_SAMARITANS,),
    "IE": (_SAMARITANS,),
    "IN": (
        Helpline(
            "Tele MANAS",
            "call 14416",
            "https://theshillongtimes.com/2025/02/07/tele-manas-mental-health-helpline-handles-over-18-1-lakh-calls-centre/",
            _DAY,
        ),
    ),
    "NL": (Helpline("113 Zelfmoordpreventie", "call 113", "https://www.113.nl/schoolopdracht", _DAY),),
    "NZ": (
        Helpline(
            "Need to talk?",
            "call or text 1737",
            "https://www.scoop.co.nz/stories/PA1706/S00527/single-phone-number-to-access-support-services.htm",
            _DAY,
        ),
    ),
    "SG": (
        Helpline(
            "Samaritans of Singapore",
            "call 1767",
            "https://www.channelnewsasia.com/singapore/suicide-whatsapp-service-caretext-samaritans-singapore-help-2929241",
            _DAY,
        ),
    ),
    "US": (
        Helpline(
            "988 Suicide & Crisis Lifeline",
            "call or text 988",
            "https://health.wyo.gov/publichealth/prevention/wivpp/suicide-prevention/988-suicide-crisis-lifeline",
            _DAY,
        ),
    ),
}


def helplines_of(country: str | None) -> tuple[Helpline, ...]:
    """The helplines of a country (two letters, any case); empty if the country is unknown or not given."""
    code = (country or "").strip()
    return HELPLINES.get(code.upper(), ()) if code.isascii() else ()  # a dotless i would become an I


def to_check(today: date) -> list[tuple[str, Helpline]]:
    """Entries last checked more than CHECK_AGAIN ago, with their country; "*" stands for the directories."""
    listed = [(country, line) for country, lines in HELPLINES.items() for line in lines]
    listed += [("*", line) for line in DIRECTORIES]
    return [(country, line) for country, line in listed if today - line.checked > CHECK_AGAIN]


def main() -> None:
    """Print the entries that must be checked again, one per line."""
    for country, line in to_check(datetime.now(UTC).date()):
        print(f"{country} {line.name} ({line.contact}): {line.source}, checked {line.checked}")  # noqa: T201  # a command


if __name__ == "__main__":
    main()
