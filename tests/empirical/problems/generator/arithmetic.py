"""Family `arithmetic`: stocks of things, shopping, packing, collections, seats."""

from dataclasses import dataclass

import numpy as np

from tests.empirical.problems.generator.draft import (
    Draft,
    Template,
    choice,
    few,
    several,
    size,
    whole,
)
from tests.empirical.problems.generator.wording import (
    Noun,
    an,
    counted,
    joined,
    money,
    nouns,
    people,
    times,
)


@dataclass(frozen=True)
class Shop:
    """A shop, what it sells and what that comes in."""

    place: str
    item: Noun
    pack: Noun


def _shop(place: str, item: str, pack: str) -> Shop:
    return Shop(place, *nouns(item, pack))


SHOPS = (
    _shop("bakery", "roll", "tray"),
    _shop("bakery", "bagel", "basket"),
    _shop("bookshop", "calendar", "carton"),
    _shop("toy shop", "kite", "box/boxes"),
    _shop("garden centre", "rose bush/rose bushes", "pallet"),
    _shop("pet shop", "goldfish/goldfish", "tank"),
    _shop("hardware shop", "lamp", "crate"),
    _shop("grocer's shop", "melon", "crate"),
    _shop("grocer's shop", "cabbage", "sack"),
    _shop("stationer's shop", "notebook", "packet"),
    _shop("flower stall", "tulip", "bucket"),
    _shop("market stall", "lemon", "net"),
    _shop("farm shop", "egg", "tray"),
    _shop("music shop", "guitar string", "packet"),
    _shop("sports shop", "tennis ball", "tube"),
)
GOODS = nouns(
    "notebook", "cushion", "atlas/atlases", "hammer", "mug", "candle", "scarf/scarves", "plant pot",
    "umbrella", "puzzle", "poster", "paintbrush/paintbrushes", "torch/torches", "apron", "jug",
    "sketch pad", "water bottle", "lunch box/lunch boxes", "alarm clock", "key ring",
)  # fmt: skip
FRUIT = nouns(
    "apple", "pear", "plum", "peach/peaches", "orange", "apricot", "fig", "cherry/cherries",
    "walnut", "chestnut", "lemon", "quince",
)  # fmt: skip
BAGS = nouns("bag", "box/boxes", "basket", "jar", "crate", "net")
KEEPSAKES = nouns(
    "stamp", "marble", "coin", "shell", "sticker", "postcard", "badge", "toy car", "comic",
    "model train", "bead", "button", "trading card", "pebble", "fossil",
)  # fmt: skip
HALLS = ("hall", "theatre", "cinema", "concert hall", "circus tent", "lecture room", "stadium")
SHARES = {2: "half", 3: "a third", 4: "a quarter", 5: "a fifth"}
MONTHS = ["January", "March", "April", "June", "July", "September", "October", "December"]


def stock(rng: np.random.Generator, difficulty: int) -> Draft:
    """Goods of a shop come in and go out."""
    shop = choice(rng, SHOPS)
    item, month = shop.item, choice(rng, MONTHS)
    sold, left = size(rng, difficulty), size(rng, difficulty)
    story = [
        f"One day in {month} a {shop.place} opens with {counted(sold + left, item)} "
        f"and sells {sold} of them before noon."
    ]
    steps = [f"At noon there are {sold + left} - {sold} = {counted(left, item)} left."]
    now = left
    if difficulty == 1:
        more = size(rng, difficulty)
        story.append(f"Then {more} more are delivered.")
        steps.append(f"After the delivery there are {now} + {more} = {now + more}.")
        now += more
    else:
        packs, each = few(rng, difficulty), size(rng, difficulty)
        story.append(f"Then {counted(packs, shop.pack)} of {each} {item.many} each are delivered.")
        steps.append(f"The delivery brings {packs} × {each} = {packs * each} {item.many}.")
        steps.append(f"That makes {now} + {packs * each} = {now + packs * each} {item.many}.")
        now += packs * each
    # A later sale leaves a multiple of `part`, of which a share can then be taken.
    part = choice(rng, tuple(SHARES)) if difficulty == 4 else 1
    if difficulty >= 3:
        kept = part * whole(rng, now // (2 * part), (now - 3) // part)
        story.append(f"In the afternoon it sells another {now - kept}.")
        steps.append(f"The afternoon leaves {now} - {now - kept} = {kept} {item.many}.")
        now = kept
    if difficulty == 4:
        story.append(f"At closing time it sends {SHARES[part]} of what remains to another shop.")
        steps.append(f"The other shop gets {now} ÷ {part} = {now // part} {item.many}.")
        steps.append(f"So {now} - {now // part} = {now - now // part} {item.many} stay.")
        now -= now // part
    question = f"How many {item.many} does the {shop.place} have then?"
    return Draft(" ".join([*story, question]), tuple(steps), str(now))


def shopping(rng: np.random.Generator, difficulty: int) -> Draft:
    """Several things at a price each; with a discount when hard."""
    (buyer,) = people(rng, 1)
    kinds = several(rng, GOODS, {1: 2, 2: 2, 3: 3, 4: 3}[difficulty])
    while True:
        counts = [few(rng, difficulty) for _ in kinds]
        if difficulty == 1:
            counts[1] = 1
        prices = [size(rng, min(difficulty, 3)) for _ in kinds]
        costs = [count * price for count, price in zip(counts, prices, strict=True)]
        total = sum(costs)
        rates = [rate for rate in (5, 10, 20, 25) if total * rate % 100 == 0]
        if difficulty < 4 or rates:
            break
    bought = [
        f"{counted(count, kind)} at ${price} each" if count > 1 else f"{an(kind.one)} for ${price}"
        for count, kind, price in zip(counts, kinds, prices, strict=True)
    ]
    prompt = f"{buyer.name} buys {joined(bought)}."
    steps = [
        f"The {kind.many} cost {count} × ${price} = ${cost}."
        for count, kind, price, cost in zip(counts, kinds, prices, costs, strict=True)
        if count > 1
    ]
    steps.append(f"The goods come to {' + '.join(f'${cost}' for cost in costs)} = ${total}.")
    if difficulty == 4:
        rate = choice(rng, rates)
        off = total * rate // 100
        prompt += f" A voucher takes {rate}% off the total."
        steps.append(f"The voucher is worth ${total} × {rate} ÷ 100 = ${off}.")
        steps.append(f"{buyer.name} pays ${total} - ${off} = ${total - off}.")
        total -= off
    prompt += f" How many dollars does {buyer.they} pay altogether?"
    return Draft(prompt, tuple(steps), str(total), money(100 * total))


def packing(rng: np.random.Generator, difficulty: int) -> Draft:
    """Fruit is gathered, sorted and packed; when hard, sold."""
    picker, friend = people(rng, 2)
    fruit, bag = choice(rng, FRUIT), choice(rng, BAGS)
    while True:
        first, second = size(rng, difficulty), size(rng, difficulty)
        factor = whole(rng, 2, difficulty + 1)
        if difficulty >= 3:
            second = factor * first
        picked = first + (second if difficulty > 1 else 0)
        each, bad = few(rng, difficulty) + 1, few(rng, difficulty)
        if picked - bad >= 2 * each and (picked - bad) % each == 0:
            break
    good, bags = picked - bad, (picked - bad) // each
    steps = []
    if difficulty == 1:
        prompt = f"{picker.name} picks {counted(first, fruit)} and throws away {bad} bad ones. "
        prompt += f"{picker.They} packs"
    else:
        more = f"{times(factor)} as many" if difficulty >= 3 else f"{second}"
        prompt = f"{picker.name} picks {counted(first, fruit)} and {friend.name} picks {more}. "
        prompt += f"They throw away {bad} bad ones. They pack"
        if difficulty >= 3:
            steps.append(f"{friend.name} picks {factor} × {first} = {second} {fruit.many}.")
        steps.append(f"Together they have {first} + {second} = {picked} {fruit.many}.")
    prompt += f" the rest into {bag.many}, {each} to {an(bag.one)}."
    steps.append(f"There are {picked} - {bad} = {good} good {fruit.many}.")
    steps.append(f"They fill {good} ÷ {each} = {counted(bags, bag)}.")
    if difficulty < 4:
        question = f"How many {bag.many} do they fill?"
        if difficulty == 1:
            question = f"How many {bag.many} does {picker.they} fill?"
            steps[-1] = f"{picker.They} fills {good} ÷ {each} = {counted(bags, bag)}."
        return Draft(f"{prompt} {question}", tuple(steps), str(bags))
    price = whole(rng, 4, 15)
    cost = whole(rng, 1, 2 * bags)
    prompt += (
        f" They sell every {bag.one} for ${price}. The stall at the market costs them ${cost}. "
        "How many dollars do they have left from the sale after paying for the stall?"
    )
    steps.append(f"They take in {bags} × ${price} = ${bags * price}.")
    steps.append(f"After the stall they have ${bags * price} - ${cost} = ${bags * price - cost}.")
    earned = bags * price - cost
    return Draft(prompt, tuple(steps), str(earned), money(100 * earned))


def collections(rng: np.random.Generator, difficulty: int) -> Draft:
    """Each collection is told by comparison with an earlier one."""
    owners = people(rng, {1: 2, 2: 3, 3: 4, 4: 5}[difficulty])
    thing = choice(rng, KEEPSAKES)
    have = [size(rng, difficulty)]
    story = [f"{owners[0].name} has {counted(have[0], thing)}."]
    steps = []
    for owner in owners[1:]:
        base = whole(rng, 0, len(have) - 1)
        other, known = owners[base].name, have[base]
        relation = choice(rng, ("times", "more", "fewer"))
        number = whole(rng, 2, 4) if relation == "times" else few(rng, difficulty)
        if relation == "times":
            sign, result, words = "×", known * number, f"{times(number)} as many"
        elif relation == "more" or known - number < 2:
            sign, result, words = "+", known + number, f"{number} more"
        else:
            sign, result, words = "-", known - number, f"{number} fewer"
        link = "as" if relation == "times" else "than"
        story.append(f"{owner.name} has {words} {link} {other}.")
        steps.append(f"{owner.name} has {known} {sign} {number} = {result} {thing.many}.")
        have.append(result)
    total = sum(have)
    steps.append(f"Together they have {' + '.join(map(str, have))} = {total} {thing.many}.")
    if difficulty == 4:
        given = whole(rng, total // 6, total // 2)
        story.append(f"They put everything together and give {given} {thing.many} to a museum.")
        steps.append(f"After the gift {total} - {given} = {total - given} {thing.many} are left.")
        total -= given
        question = f"How many {thing.many} do they have left?"
    else:
        question = f"How many {thing.many} do they have altogether?"
    return Draft(" ".join([*story, question]), tuple(steps), str(total))


def seats(rng: np.random.Generator, difficulty: int) -> Draft:
    """Rows of seats, and how many of them stay free."""
    hall, (host,) = choice(rng, HALLS), people(rng, 1)
    rows, each = few(rng, difficulty) + 1, size(rng, difficulty)
    total = rows * each
    prompt = f"For a show by {host.name}'s choir, a {hall} has {rows} rows of {each} seats"
    steps = [f"The rows have {rows} × {each} = {total} seats."]
    if difficulty == 1:
        prompt += "."
    elif difficulty == 2:
        extra = size(rng, difficulty)
        prompt += f" and {extra} seats in boxes."
        steps.append(f"With the boxes there are {total} + {extra} = {total + extra} seats.")
        total += extra
    else:
        more, width = few(rng, difficulty), size(rng, difficulty)
        upper = more * width
        prompt += f" downstairs and {more} rows of {width} seats upstairs."
        steps[0] = f"Downstairs there are {rows} × {each} = {total} seats."
        steps.append(f"Upstairs there are {more} × {width} = {upper} seats.")
        steps.append(f"In all there are {total} + {upper} = {total + upper} seats.")
        total += upper
    if difficulty == 4:
        buses = few(rng, difficulty)
        riders = whole(rng, 9, max(10, min(55, total // (2 * buses))))
        group = buses * riders
        prompt += f" A party arrives in {buses} buses, each with {riders} people, who all sit down."
        steps.append(f"The buses bring {buses} × {riders} = {group} people.")
        steps.append(f"Then {total} - {group} = {total - group} seats are free.")
        total -= group
    taken = whole(rng, 2, total - 2)
    also = "Another " if difficulty == 4 else ""
    prompt += (
        f" {also}{taken} people come on foot and take a seat each."
        if also
        else (f" So far {taken} people have taken a seat each.")
    )
    prompt += " How many seats are still free?"
    steps.append(f"So {total} - {taken} = {total - taken} seats are still free.")
    return Draft(prompt, tuple(steps), str(total - taken))


TEMPLATES = (
    Template("arithmetic", "stock", stock),
    Template("arithmetic", "shopping", shopping),
    Template("arithmetic", "packing", packing),
    Template("arithmetic", "collections", collections),
    Template("arithmetic", "seats", seats),
)
