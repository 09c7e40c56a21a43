"""Dated exchange rates: a CSV sheet per month and a weekly bulletin in prose per Monday.

The sheets and the bulletins cover different currencies, so no figure is stated twice.
"""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache
from typing import Any

from examples.support_center.sources.records import Question, Source, dong, load_yaml, seeded

SHEET = {
    "USD": ("US dollar", 25310.0),
    "EUR": ("euro", 27120.0),
    "GBP": ("pound sterling", 32150.0),
    "JPY": ("Japanese yen", 166.4),
    "CHF": ("Swiss franc", 28740.0),
    "HKD": ("Hong Kong dollar", 3254.0),
}
BULLETIN = {
    "THB": ("Thai baht", 742.0),
    "SGD": ("Singapore dollar", 18630.0),
    "KRW": ("Korean won", 17.6),
    "CNY": ("Chinese yuan", 3461.0),
    "AUD": ("Australian dollar", 15840.0),
}
FIRST_MONDAY = date(2025, 1, 6)
BULLETIN_FILE = "rates/bulletins.jsonl"


@cache
def notices() -> Any:
    """Returns the phrasings of dated notices."""
    return load_yaml("notices.yaml")


def mondays(months: list[str]) -> list[date]:
    """Returns the Mondays of `months` ("2025-01"), in order."""
    weeks = (FIRST_MONDAY + timedelta(weeks=week) for week in range(52))
    return [day for day in weeks if day.isoformat()[:7] in months]


def spell_date(day: date) -> str:
    """Returns a date as it stands in prose."""
    return f"{day.day} {day:%B %Y}"


def ask_date(day: date, *key: object) -> str:
    """Returns a date in one of the forms that people type."""
    forms = [spell_date(day), f"{day:%B} {day.day}, {day.year}", day.isoformat()]
    return seeded("date form", day, *key).choice(forms)


@cache
def rate(currency: str, day: date) -> float:
    """Returns the book rate of a currency in dong: a weekly random walk."""
    start = {**SHEET, **BULLETIN}[currency][1]
    if day <= FIRST_MONDAY:
        return start
    step = seeded("rate", currency, day).uniform(-0.012, 0.012)
    digits = 1 if start < 1000 else 0
    return round(rate(currency, day - timedelta(weeks=1)) * (1 + step), digits)


def plain(value: float) -> str:
    """Returns a rate as a CSV cell: whole dong, or one decimal for small units."""
    return f"{value:.0f}" if value >= 1000 else f"{value:.1f}"


def grouped(value: float) -> str:
    """Returns a rate as it stands in prose, with a comma between thousands."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}"


def notes_rate(currency: str, day: date) -> float:
    """Returns the rate at which shops take banknotes: a little under the book rate."""
    value = rate(currency, day) * 0.985
    return round(value, 1 if value < 1000 else 0)


def sheet_id(day: date) -> str:
    """Returns the document id of the sheet for the month of `day`."""
    return f"rates/exchange-{day:%Y-%m}.csv"


def sheet_source(month: str) -> Source:
    """Returns the exchange-rate sheet of one month."""
    days = mondays([month])
    lines = ["date,currency,name,notes_rate_dong,book_rate_dong,issued_by"]
    for day in days:
        for code, (name, _) in SHEET.items():
            notes, book = plain(notes_rate(code, day)), plain(rate(code, day))
            lines.append(f"{day},{code},{name},{notes},{book},Quillane Home treasury")
    document_id = sheet_id(days[0])
    return Source(document_id, document_id, "", "\n".join(lines) + "\n")


def bulletin_currencies(day: date) -> list[str]:
    """Returns the three currencies that the bulletin of `day` covers."""
    return sorted(seeded("bulletin currencies", day).sample(sorted(BULLETIN), 3))


def bulletin_id(day: date) -> str:
    """Returns the document id of the bulletin of `day`."""
    return f"bulletin-{day}"


def bulletin_source(day: date) -> Source:
    """Returns the weekly bulletin of `day` in prose."""
    prose = notices()["bulletin"]
    rng = seeded("bulletin", day)
    patterns = rng.sample(prose["rates"], 3)
    sentences = [rng.choice(prose["openings"]).format(date=spell_date(day))]
    for code, pattern in zip(bulletin_currencies(day), patterns, strict=True):
        now, before = rate(code, day), rate(code, day - timedelta(weeks=1))
        sentences.append(pattern.format(name=BULLETIN[code][0], value=grouped(now)))
        move = "up" if now > before else "down" if now < before else "same"
        if day > FIRST_MONDAY:
            sentences.append(rng.choice(prose["moves"][move]))
    sentences.append(rng.choice(prose["closings"]))
    title = f"Counter rates bulletin of {spell_date(day)}"
    return Source(
        bulletin_id(day), BULLETIN_FILE, title, " ".join(sentences), {"date": day.isoformat()}
    )


def treasury_sources(months: list[str], archived: list[str]) -> list[Source]:
    """Returns the sheets of `months` without the archived ones, and all bulletins."""
    sheets = [sheet_source(month) for month in months if month not in archived]
    return sheets + [bulletin_source(day) for day in mondays(months)]


def sheet_question(day: date, code: str, column: str) -> Question:
    """Returns a question on one cell of a monthly sheet; `column` is notes or book."""
    wording = seeded("ask", day, code).choice(notices()["sheet"][f"{column}_questions"])
    value = notes_rate(code, day) if column == "notes" else rate(code, day)
    text = wording.format(code=code, name=SHEET[code][0], date=ask_date(day, code))
    return Question("time_varying", text, [plain(value)], [sheet_id(day)])


def bulletin_question(day: date, code: str) -> Question:
    """Returns a question on one rate of a bulletin."""
    wording = seeded("ask", day, code).choice(notices()["bulletin"]["questions"])
    text = wording.format(name=BULLETIN[code][0], date=ask_date(day, code))
    return Question("time_varying", text, dong(grouped(rate(code, day))), [bulletin_id(day)])


def treasury_questions(months: list[str], sheets: int, bulletins: int) -> list[Question]:
    """Returns questions on dated rates of `months`."""
    rng = seeded("treasury questions", *months)
    days = mondays(months)
    cells = [(day, code, column) for day in days for code in SHEET for column in ("notes", "book")]
    rows = [(day, code) for day in days for code in bulletin_currencies(day)]
    return [sheet_question(*cell) for cell in rng.sample(cells, sheets)] + [
        bulletin_question(*row) for row in rng.sample(rows, bulletins)
    ]
