"""Family `logic`: orders, seats in a row, overlapping groups, labels, knights and knaves.

Each puzzle is generated from its solution, with clues that fix it step by step, so that it has one
solution; the tests read the clues back from the prose and search all cases.
"""

import itertools

import numpy as np

from tests.empirical.problems.generator.draft import Draft, Template, choice, several, size, whole
from tests.empirical.problems.generator.truth import TRUTH_TEMPLATES
from tests.empirical.problems.generator.wording import joined, numeral, ordinal, people

SCALES = (
    ("taller", "shorter", "the tallest", "the shortest"),
    ("older", "younger", "the oldest", "the youngest"),
    ("faster", "slower", "the fastest", "the slowest"),
    ("heavier", "lighter", "the heaviest", "the lightest"),
    ("stronger", "weaker", "the strongest", "the weakest"),
)
EVENTS = (
    "at a concert",
    "in the cinema",
    "on a bench",
    "at the theatre",
    "on a train",
    "in church",
)
CLUBS = (
    ("play chess", "play tennis", "sing in the choir"),
    ("speak French", "speak Arabic", "speak Hindi"),
    ("own a cat", "own a dog", "own a parrot"),
    ("can swim", "can ski", "can juggle"),
    ("study physics", "study history", "study music"),
    ("like tea", "like coffee", "like cocoa"),
    ("knit", "paint", "dance"),
)
GROUPS = ("students", "neighbours", "pensioners", "guests", "colleagues", "tourists")


def order(rng: np.random.Generator, difficulty: int) -> Draft:
    """Comparisons of neighbours in a hidden order, shuffled and worded either way round."""
    ranks = people(rng, {1: 3, 2: 4, 3: 5, 4: whole(rng, 6, 7)}[difficulty])
    names = [who.name for who in ranks]
    more, less, top, bottom = choice(rng, SCALES)
    pairs = list(itertools.pairwise(names))
    clues = [
        f"{a} is {more} than {b}." if rng.random() < 0.5 else f"{b} is {less} than {a}."
        for a, b in pairs
    ]
    shuffled = several(rng, clues, len(clues))
    steps = [f"{names[0]} is {more} than {names[1]}, so the order begins {names[0]}, {names[1]}."]
    for i in range(2, len(names)):
        steps.append(
            f"{names[i - 1]} is {more} than {names[i]}, so it goes on: {', '.join(names[: i + 1])}."
        )
    if difficulty <= 2:
        title, index = choice(rng, ((top, 0), (bottom, len(names) - 1)))
    else:
        place = whole(rng, 2, len(names) - 1)
        title, index = f"the {ordinal(place)} {top.removeprefix('the ')}", place - 1
    prompt = f"{' '.join(shuffled)} Of {joined(sorted(names))}, who is {title}?"
    steps[-1] = steps[-1].removesuffix(".") + f", with {names[index]} as {title}."
    return Draft(prompt, tuple(steps), names[index])


def row(rng: np.random.Generator, difficulty: int) -> Draft:
    """Seats in a row: one seat is told, the others by their distance from a known one."""
    seated = [who.name for who in people(rng, {1: 3, 2: 4, 3: 5, 4: whole(rng, 6, 7)}[difficulty])]
    count, where = len(seated), choice(rng, EVENTS)
    seat = {name: i + 1 for i, name in enumerate(seated)}
    start, *others = several(rng, seated, count)
    clues, steps, known = [f"{start} is in seat {seat[start]}."], [], [start]
    for i, name in enumerate(others[:-1]):
        base = choice(rng, known) if i else start
        gap = seat[name] - seat[base]
        side = "right" if gap > 0 else "left"
        away = f"{abs(gap)} seats to the {side} of" if abs(gap) > 1 else f"just {side} of"
        clues.append(f"{name} is {away} {base}.")
        sign = "+" if gap > 0 else "-"
        steps.append(
            f"{name} is {away} {base}, so {name} is in seat {seat[base]} {sign} {abs(gap)} = "
            f"{seat[name]}."
        )
        known.append(name)
    last = others[-1]
    steps.append(f"Only seat {seat[last]} is left, so {last} is in seat {seat[last]}.")
    heading = (
        f"{joined(sorted(seated))} sit {where} in a row of {numeral(count)} seats, numbered 1 to "
        f"{count} from left to right. "
    )
    told = several(rng, clues, len(clues)) if difficulty > 1 else tuple(clues)
    if difficulty == 1 or rng.random() < 0.5:
        question, answer = f"In which seat is {last}?", str(seat[last])
    else:
        question, answer = f"Who is in seat {seat[last]}?", last
    return Draft(heading + " ".join(told) + " " + question, tuple(steps), answer)


def overlap(rng: np.random.Generator, difficulty: int) -> Draft:
    """Counting overlapping groups: inclusion and exclusion, drawn from the disjoint parts."""
    (host,) = people(rng, 1)
    who, (one, two, three) = choice(rng, GROUPS), several(rng, choice(rng, CLUBS), 3)
    # Parts: only one, only two, only three, the pairs, all three, none.
    a, b, c, ab, ac, bc, abc, none = (size(rng, difficulty) for _ in range(8))
    if difficulty < 4:
        first, second, either = a + ab, b + ab, a + b + ab
        facts = f"{first} of them {one} and {second} {two}"
        asked = f"{host.name} asks {either + none} {who}. {facts}"
        add = f"Adding the two groups gives {first} + {second} = {first + second}."
        if difficulty == 3:
            prompt = (
                f"{asked}, while {none} neither {one} nor {two}. How many of them {one} or {two}, "
                "but not both?"
            )
            steps = [
                f"Those who {one} or {two} number {either + none} - {none} = {either}.",
                add,
                f"This counts those of both groups twice, so there are {first + second} - {either} "
                f"= {ab} of them.",
                f"In just one of the groups there are {either} - {ab} = {a + b}.",
            ]
            return Draft(prompt, tuple(steps), str(a + b))
        steps = [
            add,
            f"This counts the {ab} in both groups twice, so {first + second} - {ab} = {either} "
            f"{one} or {two}.",
        ]
        if difficulty == 1:
            prompt = f"{host.name} asks some {who}. {facts}; {ab} of these belong to both groups."
            prompt += f" How many of them {one} or {two}, or both?"
            return Draft(prompt, tuple(steps), str(either))
        prompt = f"{asked}; {ab} of these belong to both groups. How many of them neither {one} "
        prompt += f"nor {two}?"
        steps.append(f"So {either + none} - {either} = {none} neither {one} nor {two}.")
        return Draft(prompt, tuple(steps), str(none))
    singles = (a + ab + ac + abc, b + ab + bc + abc, c + ac + bc + abc)
    pairs = (ab + abc, ac + abc, bc + abc)
    total = a + b + c + ab + ac + bc + abc + none
    prompt = (
        f"{host.name} asks {total} {who}. {singles[0]} of them {one}, {singles[1]} {two} and "
        f"{singles[2]} {three}. {pairs[0]} of them {one} and {two}, {pairs[1]} {one} and {three}, "
        f"and {pairs[2]} {two} and {three}; each of these three numbers includes the {abc} who "
        f"{one}, {two} and {three}. How many of the {who} are in none of these groups?"
    )
    added, doubled = sum(singles), sum(pairs)
    steps = [
        f"Adding the three groups gives {' + '.join(map(str, singles))} = {added}.",
        f"Adding the three overlaps gives {' + '.join(map(str, pairs))} = {doubled}.",
        f"Those in two groups were counted twice, so we subtract: {added} - {doubled} = "
        f"{added - doubled}.",
        f"Those in all three are now not counted at all, so we add them: "
        f"{added - doubled} + {abc} = {total - none}.",
        f"In none of the groups there are {total} - {total - none} = {none}.",
    ]
    return Draft(prompt, tuple(steps), str(none))


TEMPLATES = (
    Template("logic", "order", order),
    Template("logic", "row", row),
    Template("logic", "overlap", overlap),
    *TRUTH_TEMPLATES,
)
