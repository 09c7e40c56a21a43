"""Dated prices: a CSV list per month, promotions and spare-part notices in prose."""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache

from examples.support_center.sources.records import Question, Source, dong, load_csv, seeded, slug
from examples.support_center.sources.treasury import ask_date, notices, spell_date

PROMOTION_FILE = "prices/promotions.jsonl"
PART_FILE = "prices/parts.jsonl"
PART_DATES = [date(2025, 1, 13), date(2025, 4, 7)]
PART_DATES_UPDATE = [date(2025, 6, 2)]
CODE_WORDS = ["HERONRY", "SUNDIAL", "PADDY", "MONSOON", "LANTERN", "CITRUS", "HARBOUR", "DRIFT"]
STOCK = ["in all shops", "order only", "low stock", "central store", "in most shops"]


@cache
def products() -> list[dict[str, str]]:
    """Returns the rows of the product table."""
    return load_csv("products.csv")


@cache
def parts() -> list[dict[str, str]]:
    """Returns the rows of the table of spare parts."""
    return load_csv("parts.csv")


def spell_month(month: str) -> str:
    """Returns "March 2025" for "2025-03"."""
    return f"{date.fromisoformat(month + '-01'):%B %Y}"


@cache
def list_price(sku: str, month: str) -> int:
    """Returns the list price in dong: a monthly random walk in steps of 10,000."""
    base = next(int(row["base_price_dong"]) for row in products() if row["sku"] == sku)
    number = int(month[5:])
    if number == 1:
        return base
    before = list_price(sku, f"2025-{number - 1:02}")
    rng = seeded("price", sku, month)
    step = rng.choice([0, 0, rng.uniform(-0.05, 0.05), rng.uniform(-0.05, 0.05)])
    return int(round(before * (1 + step), -4))


def list_id(month: str) -> str:
    """Returns the document id of the price list of `month`."""
    return f"prices/list-{month}.csv"


def list_source(month: str) -> Source:
    """Returns the price list of one month."""
    lines = ["month,sku,product,category,list_price_dong,availability,seller"]
    for row in products():
        stock = seeded("stock", row["sku"], month).choice(STOCK)
        price = list_price(row["sku"], month)
        cells = [month, row["sku"], row["name"], row["category"], str(price), stock]
        lines.append(",".join([*cells, "Quillane Home"]))
    return Source(list_id(month), list_id(month), "", "\n".join(lines) + "\n")


def promotion_id(product: dict[str, str], month: str) -> str:
    """Returns the document id of a promotion."""
    return f"promotion-{month}-{slug(product['name'])}"


def promotion_facts(product: dict[str, str], month: str) -> dict[str, str]:
    """Returns the facts of a promotion as they stand in its notice."""
    rng = seeded("promotion", product["sku"], month)
    price = list_price(product["sku"], month)
    start = date.fromisoformat(f"{month}-01") + timedelta(days=rng.randint(1, 10))
    return {
        "product": product["name"],
        "category": product["category"],
        "month": spell_month(month),
        "start": spell_date(start),
        "end": spell_date(start + timedelta(days=rng.randint(5, 15))),
        "value": f"{round(price * rng.uniform(0.78, 0.93), -4):,.0f}",
        "promo": f"{rng.choice(CODE_WORDS)}{rng.randint(10, 99)}",
        "limit": rng.choice(["two", "three", "four", "five", "six"]),
    }


def promotion_pairs(months: list[str]) -> list[tuple[dict[str, str], str]]:
    """Returns three promoted products for each month."""
    return [
        (product, month)
        for month in months
        for product in seeded("promoted", month).sample(products(), 3)
    ]


def promotion_source(product: dict[str, str], month: str) -> Source:
    """Returns the notice of one promotion in prose."""
    prose = notices()["promotion"]
    rng = seeded("promotion prose", product["sku"], month)
    middle = [rng.choice(prose[key]) for key in ("prices", "codes", "limits")]
    rng.shuffle(middle)
    patterns = [rng.choice(prose[key]) for key in ("openings", "remarks")]
    facts = promotion_facts(product, month)
    patterns += [*middle, rng.choice(prose["closings"])]
    body = " ".join(patterns).format(**facts)
    title = f"{product['name']} promotion, {facts['month']}"
    metadata = {"date": f"{month}-01"}
    return Source(promotion_id(product, month), PROMOTION_FILE, title, body, metadata)


def part_price(part: dict[str, str], day: date) -> str:
    """Returns the price in dong that the notice of `day` states; each notice changes it."""
    price = float(part["price_dong"])
    for notice in [*PART_DATES[1:], *PART_DATES_UPDATE]:
        if notice <= day:
            rng = seeded("part price", part["part"], notice)
            price = round(price * rng.choice([0.86, 0.92, 1.07, 1.12, 1.18, 1.25]), -3)
    return f"{price:,.0f}"


def part_id(part: dict[str, str], day: date) -> str:
    """Returns the document id of the notice of `day`."""
    return f"part-{slug(part['part'])}-{day}"


def part_source(part: dict[str, str], day: date) -> Source:
    """Returns the notice that sets the price of a spare part."""
    prose = notices()["part"]
    rng = seeded("part prose", part["part"], day)
    keys = ("openings", "prices", "remarks", "closings", "ends")
    body = " ".join(rng.choice(prose[key]) for key in keys).format(
        part=part["part"], what=part["what"], date=spell_date(day), value=part_price(part, day)
    )
    title = f"Price of spare part {part['part']} from {spell_date(day)}"
    return Source(part_id(part, day), PART_FILE, title, body, {"date": day.isoformat()})


def price_sources(
    months: list[str], archived: list[str], reprised: list[dict[str, str]]
) -> list[Source]:
    """Returns lists and promotions of `months`, and part notices with those of `reprised`."""
    lists = [list_source(month) for month in months if month not in archived]
    promotions = [promotion_source(*pair) for pair in promotion_pairs(months)]
    notes = [part_source(part, day) for part in parts() for day in PART_DATES]
    notes += [part_source(part, day) for part in reprised for day in PART_DATES_UPDATE]
    return lists + promotions + notes


def list_question(product: dict[str, str], month: str) -> Question:
    """Returns a question on one line of a price list."""
    wording = seeded("ask", product["sku"], month).choice(notices()["price"]["questions"])
    text = wording.format(
        product=product["name"], category=product["category"], month=spell_month(month)
    )
    return Question(
        "time_varying", text, [str(list_price(product["sku"], month))], [list_id(month)]
    )


def promotion_question(product: dict[str, str], month: str, fact: str) -> Question:
    """Returns a question on a promotion; `fact` is price, code or limit."""
    facts = promotion_facts(product, month)
    answers = {"price": dong(facts["value"]), "code": [facts["promo"]], "limit": [facts["limit"]]}
    wordings = notices()["promotion"][f"{fact}_questions"]
    text = seeded("ask", product["sku"], month, fact).choice(wordings)
    gold = promotion_id(product, month)
    return Question("time_varying", text.format(**facts), answers[fact], [gold])


def part_question(part: dict[str, str], day: date) -> Question:
    """Returns a question on the price that a part notice sets."""
    wording = seeded("ask", part["part"], day).choice(notices()["part"]["questions"])
    text = wording.format(part=part["part"], date=ask_date(day, part["part"]))
    return Question("time_varying", text, dong(part_price(part, day)), [part_id(part, day)])


def current_question(part: dict[str, str], day: date) -> Question:
    """Returns a question on the price in force, which the notice of `day` states."""
    wording = seeded("ask now", part["part"]).choice(notices()["part"]["current_questions"])
    text = wording.format(part=part["part"])
    return Question("time_varying", text, dong(part_price(part, day)), [part_id(part, day)])


def price_questions(months: list[str], lists: int, promotions: int, notes: int) -> list[Question]:
    """Returns questions on dated prices of `months`."""
    rng = seeded("price questions", *months)
    lines = [(product, month) for product in products() for month in months]
    offers = [(*pair, fact) for pair in promotion_pairs(months)
              for fact in ("price", "code", "limit")]  # fmt: skip
    dated = [(part, day) for part in parts() for day in PART_DATES]
    return [
        *(list_question(*line) for line in rng.sample(lines, lists)),
        *(promotion_question(*offer) for offer in rng.sample(offers, promotions)),
        *(part_question(*note) for note in rng.sample(dated, notes)),
    ]
