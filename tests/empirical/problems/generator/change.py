"""Family `change`: paying, coins, sharing a bill, saving up. Amounts are held in cents."""

from collections.abc import Sequence

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
    amount,
    an,
    capital,
    counted,
    joined,
    money,
    nouns,
    numeral,
    people,
)

SNACKS = nouns(
    "sandwich/sandwiches", "muffin", "apple juice", "burger", "yoghurt", "pretzel", "salad",
    "cup of tea/cups of tea", "bowl of soup/bowls of soup", "waffle", "ice cream", "cookie",
    "slice of cake/slices of cake", "bottle of water/bottles of water", "omelette", "pancake",
)  # fmt: skip
GOALS = nouns(
    "bicycle", "guitar", "camera", "tent", "telescope", "skateboard", "violin", "sewing machine",
    "drum kit", "printer", "pair of skis", "keyboard", "rucksack", "microscope",
)  # fmt: skip
WORK = (
    "walking a dog",
    "mowing a lawn",
    "washing a car",
    "giving a chess lesson",
    "delivering newspapers in a street",
)
COINS = ((Noun("quarter", "quarters"), 25), (Noun("dime", "dimes"), 10),
         (Noun("nickel", "nickels"), 5), (Noun("penny", "pennies"), 1))  # fmt: skip
CENT = Noun("cent", "cents")
NOTES = (5, 10, 20, 50, 100, 200, 500)


def _note(cents: int) -> int:
    """The smallest note, in cents, that pays more than the amount."""
    return next(100 * note for note in NOTES if 100 * note > cents)


def _price(rng: np.random.Generator, difficulty: int) -> int:
    """A price in cents: whole dollars at first, then finer."""
    unit = {1: 50, 2: 25, 3: 10, 4: 5}[difficulty]
    return unit * whole(rng, 100 // unit, (300 + 150 * difficulty) // unit)


def _sum(terms: Sequence[int]) -> str:
    return f"{' + '.join(map(money, terms))} = {money(sum(terms))}"


def _paid(prompt: str, steps: Sequence[str], cents: int) -> Draft:
    return Draft(prompt, tuple(steps), amount(cents), money(cents))


def till(rng: np.random.Generator, difficulty: int) -> Draft:
    """Some purchases, a note, and the change."""
    (buyer,) = people(rng, 1)
    kinds = several(rng, SNACKS, {1: 1, 2: 2, 3: 2, 4: 3}[difficulty])
    counts = [few(rng, min(difficulty, 3)) for _ in kinds]
    if difficulty == 2:
        counts[1] = 1
    prices = [_price(rng, difficulty) for _ in kinds]
    costs = [count * price for count, price in zip(counts, prices, strict=True)]
    bought = [
        f"{counted(count, kind)} at {money(price)} each"
        if count > 1
        else f"{an(kind.one)} for {money(price)}"
        for count, kind, price in zip(counts, kinds, prices, strict=True)
    ]
    steps = [
        f"The {kind.many} cost {count} × {money(price)} = {money(cost)}."
        for count, kind, price, cost in zip(counts, kinds, prices, costs, strict=True)
        if count > 1
    ]
    prompt = f"{buyer.name} buys {joined(bought)}."
    total = sum(costs)
    if len(costs) > 1:
        steps.append(f"Everything costs {_sum(costs)}.")
    if difficulty == 4:
        off = 5 * whole(rng, 10, total // 20)
        prompt += f" A coupon takes {money(off)} off the bill."
        steps.append(f"With the coupon it is {money(total)} - {money(off)} = {money(total - off)}.")
        total -= off
    note = _note(total)
    prompt += f" {buyer.They} pays with a {money(note)} note. "
    prompt += f"How much change, in dollars, does {buyer.they} get?"
    steps.append(f"The change is {money(note)} - {money(total)} = {money(note - total)}.")
    return _paid(prompt, steps, note - total)


def jar(rng: np.random.Generator, difficulty: int) -> Draft:
    """The value of some coins, before and after spending."""
    (owner,) = people(rng, 1)
    kinds = [COINS[i] for i in sorted(several(rng, range(4), min(difficulty, 3)))]
    if difficulty == 1:
        kinds = [choice(rng, COINS[:3])]
    counts = [size(rng, difficulty) for _ in kinds]
    values = [count * cents for count, (_, cents) in zip(counts, kinds, strict=True)]
    total = sum(values)
    held = joined([counted(count, noun) for count, (noun, _) in zip(counts, kinds, strict=True)])
    worth = joined([f"{an(noun.one)} is worth {counted(cents, CENT)}"
                    for noun, cents in kinds])  # fmt: skip
    prompt = f"{owner.name} has {held} in a jar. {capital(worth)}."
    steps = [
        f"The {noun.many} are worth {count} × {cents} = {value} cents."
        for count, (noun, cents), value in zip(counts, kinds, values, strict=True)
    ]
    if len(values) > 1:
        terms = " + ".join(map(str, values))
        steps.append(f"Together the coins are worth {terms} = {total} cents.")
    if difficulty == 1:
        spent = whole(rng, 2, total - 2)
        prompt += f" {owner.They} spends {spent} cents. How many cents does {owner.they} have left?"
        steps.append(f"After spending, {total} - {spent} = {total - spent} cents are left.")
        total -= spent
    elif difficulty < 4:
        prompt += " How many cents are the coins worth together?"
    else:
        count, price = few(rng, 2), whole(rng, 12, total // 8)
        thing = choice(rng, SNACKS)
        prompt += (
            f" {owner.They} buys {counted(count, thing)} at {price} cents each. "
            f"How many cents does {owner.they} have left?"
        )
        cost = count * price
        steps.append(f"The {thing.many} cost {count} × {price} = {cost} cents.")
        steps.append(f"So {total} - {cost} = {total - cost} cents are left.")
        total -= cost
    return Draft(prompt, tuple(steps), str(total))


def fewest(rng: np.random.Generator, difficulty: int) -> Draft:
    """Change in the fewest coins; with these coins, taking the largest first is best."""
    clerk, buyer = people(rng, 2)
    while True:
        due = 5 * whole(rng, 1, 45) if difficulty == 1 else whole(rng, 6, 49 * difficulty)
        counts, rest = [], due
        for _, cents in COINS:
            counts.append(rest // cents)
            rest %= cents
        used = [(n, noun, cents) for n, (noun, cents) in zip(counts, COINS, strict=True) if n]
        if len(used) in {1: (1,), 2: (2,), 3: (2,), 4: (3, 4)}[difficulty]:
            break
    coins = sum(counts)
    if difficulty <= 2:
        prompt, steps = f"{clerk.name} owes {buyer.name} {due} cents.", []
    else:
        thing, price = choice(rng, SNACKS), whole(rng, 105, 195 * difficulty)
        prompt = (
            f"{buyer.name} buys {an(thing.one)} for {price} cents and gives {clerk.name}, who is "
            f"at the till, {price + due} cents."
        )
        steps = [f"The change is {price + due} - {price} = {due} cents."]
    prompt += (
        f" {clerk.name} has plenty of quarters (25 cents), dimes (10 cents), nickels (5 cents) and "
        f"pennies (1 cent). What is the smallest number of coins with which {clerk.name} can "
        f"{'pay this exactly' if difficulty <= 2 else 'give exact change'}?"
    )
    if difficulty == 1:
        (_, noun, cents) = used[0]
        steps.append(f"The best is {due} ÷ {cents} = {counted(coins, noun)}.")
    else:
        first = "Using the largest coins first, "
        for n, noun, cents in used:
            steps.append(f"{first}{counted(n, noun)} make{'s' if n == 1 else ''} "
                         f"{n} × {cents} = {counted(n * cents, CENT)}.")  # fmt: skip
            first = "Then "
        terms = " + ".join(str(n) for n, _, _ in used)
        steps.append(f"That is {terms} = {coins} coins.")
    return Draft(prompt, tuple(steps), str(coins))


def bill(rng: np.random.Generator, difficulty: int) -> Draft:
    """A bill is shared equally, and one of the friends pays with a note."""
    (payer,) = people(rng, 1)
    dish, drink = several(rng, SNACKS, 2)
    while True:
        friends, off = whole(rng, 2, 3 + difficulty), 0
        if difficulty <= 2:
            costs = [50 * whole(rng, 10, 60 * difficulty) for _ in range(difficulty)]
        else:
            dishes, drinks = whole(rng, 2, 4 * difficulty), whole(rng, 2, 4 * difficulty)
            dear, cheap = _price(rng, difficulty), _price(rng, 3)
            costs = [dishes * dear, 50 * whole(rng, 2, 20)]
        if difficulty == 4:
            costs[1], off = drinks * cheap, 50 * whole(rng, 2, 12)
        total = sum(costs)
        if (total - off) % friends == 0 and total - off >= 150 * friends:
            break
    group = capital(numeral(friends))
    steps = []
    if difficulty == 1:
        told = f"{group} friends share a restaurant bill of {money(total)} equally."
    elif difficulty == 2:
        told = (
            f"{group} friends eat out. The food costs {money(costs[0])} and the drinks cost "
            f"{money(costs[1])}. They share the bill equally."
        )
        steps.append(f"The bill is {_sum(costs)}.")
    else:
        told = f"{group} friends order {counted(dishes, dish)} at {money(dear)} each"
        steps.append(f"The {dish.many} cost {dishes} × {money(dear)} = {money(costs[0])}.")
        if difficulty == 3:
            told += f". They add a tip of {money(costs[1])} and share the total equally."
            steps.append(f"With the tip it is {_sum(costs)}.")
        else:
            told += f" and {counted(drinks, drink)} at {money(cheap)} each."
            told += f" They get {money(off)} off and share the rest of the bill equally."
            steps.append(f"The {drink.many} cost {drinks} × {money(cheap)} = {money(costs[1])}.")
            steps.append(f"The bill is {_sum(costs)}.")
            steps.append(f"Less the discount it is {money(total)} - {money(off)} = "
                         f"{money(total - off)}.")  # fmt: skip
            total -= off
    share = total // friends
    note = _note(share)
    steps.append(f"Each friend pays {money(total)} ÷ {friends} = {money(share)}.")
    steps.append(
        f"{payer.name}'s change is {money(note)} - {money(share)} = {money(note - share)}."
    )
    prompt = (
        f"{told} One of them, {payer.name}, pays {payer.their} share with a {money(note)} note. "
        f"How much change, in dollars, does {payer.they} get?"
    )
    return _paid(prompt, steps, note - share)


def savings(rng: np.random.Generator, difficulty: int) -> Draft:
    """How many weeks until something can be bought? Whole dollars throughout."""
    (saver,) = people(rng, 1)
    goal = choice(rng, GOALS)
    doing = choice(rng, WORK)
    while True:
        jobs, wage = few(rng, difficulty), whole(rng, 4, 8 + 2 * difficulty)
        earned = jobs * wage if difficulty > 1 else size(rng, 2)
        spent = whole(rng, 1, earned // 2) if difficulty >= 3 else 0
        weeks, has = few(rng, difficulty) + 1, size(rng, difficulty)
        cost = has + weeks * (earned - spent)
        cuts = [(cut, cost * 100 // (100 - cut)) for cut in (10, 20, 25)
                if cost * 100 % (100 - cut) == 0]  # fmt: skip
        if difficulty < 4 or cuts:
            break
    price, steps = cost, []
    sale = ""
    if difficulty == 4:
        cut, price = choice(rng, cuts)
        sale = f", but it is on sale at {cut}% off"
        steps += [
            f"The discount is ${price} × {cut} ÷ 100 = ${price - cost}.",
            f"The {goal.one} costs ${price} - ${price - cost} = ${cost}.",
        ]
    prompt = f"{saver.name} wants to buy {an(goal.one)}. It costs ${price}{sale}. "
    prompt += f"{saver.They} already has ${has}"
    if difficulty == 1:
        prompt += f" and saves ${earned} every week. "
    else:
        prompt += f". For {doing}, {saver.they} earns ${wage}, and {saver.they} does this "
        prompt += f"{jobs} times a week. "
        steps.append(f"In a week {saver.name} earns {jobs} × ${wage} = ${earned}.")
    if spent:
        prompt += f"Every week {saver.they} spends ${spent} and saves the rest. "
        steps.append(f"Of this {saver.they} saves ${earned} - ${spent} = ${earned - spent}.")
    need = cost - has
    prompt += f"After how many weeks does {saver.they} have just enough money?"
    steps.append(f"{saver.They} still needs ${cost} - ${has} = ${need}.")
    steps.append(f"That takes {need} ÷ {earned - spent} = {weeks} weeks.")
    return Draft(prompt, tuple(steps), str(weeks))


def offer(rng: np.random.Generator, difficulty: int) -> Draft:
    """A box is cheaper than the same things bought singly: by how much?"""
    (buyer,) = people(rng, 1)
    thing = choice(rng, SNACKS[:6] + SNACKS[9:12])
    each, boxes = whole(rng, 4, 6 + 2 * difficulty), few(rng, difficulty)
    single = _price(rng, difficulty)
    box = each * single - 50 * whole(rng, 1, max(1, each * single // 200))
    rest = whole(rng, 2, each - 1) if difficulty == 4 else 0
    needed = each if difficulty == 1 else boxes * each + rest
    alone, packed = needed * single, (needed // each) * box + rest * single
    prompt = f"One {thing.one} costs {money(single)}. A box of {each} costs {money(box)}. "
    steps = []
    if difficulty == 1:
        prompt += f"{buyer.name} buys a box instead of {each} single {thing.many}."
    elif difficulty == 2:
        prompt += f"{buyer.name} buys {boxes} boxes instead of {needed} single {thing.many}."
    elif difficulty == 3:
        prompt += f"{buyer.name} needs {needed} {thing.many} and buys them in boxes, not singly."
        steps.append(f"{buyer.name} needs {needed} ÷ {each} = {boxes} boxes.")
    else:
        prompt += (
            f"{buyer.name} needs exactly {needed} {thing.many}. {buyer.They} buys {boxes} boxes "
            "and the rest singly, rather than all of them singly."
        )
        steps.append(f"The boxes hold {boxes} × {each} = {boxes * each} {thing.many}.")
        steps.append(f"The rest is {needed} - {boxes * each} = {rest} {thing.many}.")
    prompt += f" How many dollars does {buyer.they} save?"
    if difficulty > 1:
        steps.append(f"The boxes cost {boxes} × {money(box)} = {money(boxes * box)}.")
    if rest:
        steps.append(f"The rest costs {rest} × {money(single)} = {money(rest * single)}.")
        steps.append(f"Together that is {_sum([boxes * box, rest * single])}.")
    steps.append(f"Bought singly, {needed} {thing.many} cost {needed} × {money(single)} = "
                 f"{money(alone)}.")  # fmt: skip
    saved = alone - packed
    steps.append(f"The saving is {money(alone)} - {money(packed)} = {money(saved)}.")
    return _paid(prompt, steps, saved)


TEMPLATES = (
    Template("change", "till", till),
    Template("change", "jar", jar),
    Template("change", "fewest", fewest),
    Template("change", "bill", bill),
    Template("change", "savings", savings),
    Template("change", "offer", offer),
)
