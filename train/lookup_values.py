"""Invented names and values for `train/lookups.py`: what stands in the fields of such documents."""

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta

Lists = Mapping[str, Sequence[str]]


def subject_name(kind: str, rng: random.Random, lists: Lists) -> str:
    """The name of a place, a product, a person or a plan."""
    if kind == "person":
        return _person(rng, lists)
    if kind == "plan":
        return rng.choice(lists["plans"]) + rng.choice(["", "", " Plus", " 24", " Light"])
    syllables = ("beginnings", "middles", "endings")
    name = "".join(rng.choice(lists[part]) for part in syllables)
    return name + rng.choice(lists["models"]) if kind == "product" else name


def _person(rng: random.Random, lists: Lists) -> str:
    return f"{rng.choice(lists['first_names'])} {rng.choice(lists['last_names'])}"


def _code(rng: random.Random, lists: Lists) -> str:
    letters = "".join(rng.choices("ABCDEFGHKLMNPRSTVWXZ", k=rng.randint(1, 3)))
    shape = rng.choice(["{a}-{n}", "{a}{n}", "{a}-{n}-{a}", "{n}{a}", "{word}{n}"])
    word = rng.choice(lists["plans"]).upper()
    return shape.format(a=letters, n=rng.randint(2, 9999), word=word)


def sign(rng: random.Random, lists: Lists) -> str:
    """What a device shows when something is wrong."""
    blinks = f"{rng.choice(lists['numbers'][:6])} blinks"
    return rng.choice(
        [f"{rng.choice('EFHPCA')}{rng.randint(1, 40)}", f"code {rng.randint(1, 99)}", blinks]
    )


def spelled(day: date, month_only: bool, rng: random.Random) -> tuple[str, str]:
    """A date as one of several people would write it, and with its preposition."""
    month = day.strftime("%B")
    if month_only:
        text = rng.choice([f"{month} {day.year}", f"{month} {day.year}", f"{day:%Y-%m}"])
        return text, f"in {text}"
    text = rng.choice(
        [f"{day.day} {month} {day.year}", f"{month} {day.day}, {day.year}", day.isoformat()]
    )
    return text, f"on {text}"


def any_day(rng: random.Random) -> date:
    """Within six years."""
    return date(2020, 1, 1) + timedelta(days=rng.randrange(2200))


def _money(rng: random.Random, lists: Lists) -> str:
    currency = rng.choice(lists["currencies"])
    amount = rng.choice([rng.randint(2, 99), rng.randint(100, 990), 100 * rng.randint(10, 990)])
    text = rng.choice([f"{amount:,}", f"{amount}", f"{amount}.{rng.choice(['50', '90', '95'])}"])
    sign = rng.choice("$€£")
    return rng.choice([f"{text} {currency}", f"{text} {currency}", f"{sign}{text}", text])


def _duration(rng: random.Random, lists: Lists) -> str:
    number = rng.choice([str(rng.randint(2, 60)), rng.choice(lists["numbers"])])
    return f"{number} {rng.choice(lists['spans'])}"


def _hours(rng: random.Random, _: Lists) -> str:
    opens, closes = rng.randint(6, 10), rng.randint(15, 21)
    minutes = rng.choice(["00", "15", "30", "45"])
    return rng.choice(
        [
            f"{opens}:{minutes} to {closes}:{rng.choice(['00', '30'])}",
            f"{opens} am to {closes - 12} pm",
            f"{opens}.{minutes}-{closes}.00",
        ]
    )


def _phone(rng: random.Random, _: Lists) -> str:
    return rng.choice(
        [
            f"0{rng.randint(100, 999)} {rng.randint(10, 99)} {rng.randint(100, 999)}",
            f"+{rng.randint(30, 99)} {rng.randint(10, 99)} {rng.randint(1000, 9999)}",
            f"{rng.randint(200, 899)}-{rng.randint(1000, 9999)}",
            f"{rng.randint(1000, 9999)}",
        ]
    )


def _measure(rng: random.Random, lists: Lists) -> str:
    amount = rng.choice([str(rng.randint(2, 990)), f"{rng.randint(1, 40)}.{rng.randint(1, 9)}"])
    return f"{amount} {rng.choice(lists['units'])}"


def _date(rng: random.Random, _: Lists) -> str:
    return spelled(any_day(rng), rng.random() < 0.2, rng)[0]


def _rate(rng: random.Random, _: Lists) -> str:
    return rng.choice(
        [f"{rng.randint(0, 180)}.{rng.randint(10, 9999)}", f"{rng.randint(50, 40000)}"]
    )


_MAKERS: dict[str, Callable[[random.Random, Lists], str]] = {
    "money": _money,
    "duration": _duration,
    "hours": _hours,
    "phone": _phone,
    "measure": _measure,
    "date": _date,
    "rate": _rate,
    "person": _person,
    "code": _code,
    "weekday": lambda rng, lists: rng.choice(lists["weekdays"]),
    "number": lambda rng, _: str(rng.choice([rng.randint(2, 99), rng.randint(100, 9999)])),
    "version": lambda rng, _: f"{rng.randint(1, 9)}.{rng.randint(0, 40)}",
    "percent": lambda rng, _: f"{rng.choice([rng.randint(1, 60), 2.5, 7.5])}%",
    "fault": lambda rng, lists: rng.choice(lists["causes"]),
    "role": lambda rng, lists: rng.choice(lists["roles"]),
    "colour": lambda rng, lists: rng.choice(lists["colours"]),
    "street": lambda rng, lists: rng.choice(lists["streets"]),
}


def value(kind: str, rng: random.Random, lists: Lists, other_than: str = "") -> str:
    """A value of this kind, another one than that."""
    made = other_than
    while made == other_than:
        made = _MAKERS[kind](rng, lists)
    return made
