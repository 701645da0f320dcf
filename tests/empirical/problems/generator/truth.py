"""The puzzles of truth in family `logic`: labels on boxes, knights and knaves."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tests.empirical.problems.generator.draft import Draft, Template, choice, several, whole
from tests.empirical.problems.generator.wording import an, joined, numeral, people

COLOURS = ("red", "blue", "green", "white", "black", "yellow", "brown", "silver", "purple", "grey")
PRIZES = ("coin", "key", "ring", "letter", "map", "pearl", "ticket", "medal", "watch")


@dataclass(frozen=True)
class Label:
    """What is written on a box, and whether it is true when the prize lies in box `place`."""

    text: str
    true: Callable[[int], bool]


def _label(rng: np.random.Generator, own: int, colours: tuple[str, ...], prize: str) -> Label:
    target, positive = whole(rng, 0, len(colours) - 1), rng.random() < 0.5
    where = "this box" if target == own else f"the {colours[target]} box"
    text = f"The {prize} is {'' if positive else 'not '}in {where}"
    return Label(text, lambda place: (place == target) is positive)


def labels(rng: np.random.Generator, difficulty: int) -> Draft:
    """One box holds the prize, and it is told how many labels are true."""
    count = {1: 2, 2: 3, 3: 4, 4: whole(rng, 5, 6)}[difficulty]
    (host,) = people(rng, 1)
    prize, colours = choice(rng, PRIZES), several(rng, COLOURS, count)
    places = range(count)
    while True:
        written = [_label(rng, own, colours, prize) for own in places]
        truths = [[own for own in places if written[own].true(place)] for place in places]
        sums = [len(true) for true in truths]
        right = whole(rng, 0, count - 1)
        told = sums[right]
        # Of two labels, either both are true or none, or it is impossible to tell.
        telling = count == 2 or 0 < told < count
        if telling and sums.count(told) == 1 and len({label.text for label in written}) == count:
            break
    steps = [
        f"If the {prize} were in the {colours[place]} box, {_trues(truths[place], colours)}, "
        f"not {numeral(told)}."
        for place in places
        if place != right
    ]
    steps.append(
        f"If it were in the {colours[right]} box, {_trues(truths[right], colours)}, "
        f"as it should be: so the {prize} is in the {colours[right]} box."
    )
    lines = [f'The {colours[own]} box says: "{written[own].text}."' for own in places]
    how_many = {0: "neither of the labels is", 1: "exactly one of the labels is"}.get(
        told, "both labels are" if count == 2 else f"exactly {numeral(told)} of the labels are"
    )
    prompt = (
        f"{host.name} has hidden {an(prize)} in one of {numeral(count)} boxes, each with a label. "
        f"{' '.join(lines)} {host.name} says truthfully that {how_many} true. "
        f"What is the colour of the box with the {prize}?"
    )
    return Draft(prompt, tuple(steps), colours[right])


def _trues(true: list[int], colours: tuple[str, ...]) -> str:
    """Say which labels would be true, and how many those are."""
    if not true:
        return "no label would be true"
    boxes = [f"the {colours[own]} box" for own in true]
    if len(true) == 1:
        return f"only the label on {boxes[0]} would be true, which is one label"
    return f"the labels on {joined(boxes)} would be true, which is {numeral(len(true))} labels"


def kind(knight: bool) -> str:
    """Name the kind of an islander."""
    return "knight" if knight else "knave"


def knights(rng: np.random.Generator, difficulty: int) -> Draft:
    """Knights always tell the truth, knaves always lie; each statement settles one more person."""
    count = {1: 2, 2: 3, 3: 4, 4: whole(rng, 5, 6)}[difficulty]
    cast = [who.name for who in people(rng, count)]
    first, second = cast[0], cast[1]
    said: list[str] = []
    steps: list[str] = []

    # The opening is a statement that, whoever makes it, settles one person, or both.
    opening = whole(rng, 0, 3)
    if opening == 0:
        known = {second: False}
        said.append(f'{first} says: "{second} and I are of different kinds."')
        steps.append(
            f"If {first} is a knight, this is true and {second} is a knave; if {first} is a knave, "
            f"it is false, they are of the same kind and {second} is a knave all the same."
        )
    elif opening == 1:
        known = {second: True}
        said.append(f'{first} says: "{second} and I are of the same kind."')
        steps.append(
            f"If {first} is a knight, this is true and {second} is a knight; if {first} is a knave,"
            f" it is false, they are of different kinds and {second} is a knight all the same."
        )
    elif opening == 2:
        known = {first: True, second: False}
        said.append(f'{first} says: "At least one of {second} and me is a knave."')
        steps.append(
            f"If {first} were a knave, this would be true, which a knave can't say; so {first} is "
            f"a knight, it is true, and {second} is a knave."
        )
    else:
        known = {first: False, second: True}
        said.append(f'{first} says: "{second} and I are both knaves."')
        steps.append(
            f"A knight can't say this, so {first} is a knave, it is false, and {second} is "
            "a knight."
        )
    while len(known) < count:
        name = choice(rng, [name for name in cast if name not in known])
        # A chain where one person is asked about, so that every step is needed; else a tree.
        other = choice(rng, list(known)) if difficulty == 4 else list(known)[-1]
        claim = bool(rng.random() < 0.5)
        # Whoever of the two speaks, "... is a knight" is true between two of the same kind.
        known[name] = claim == known[other]
        speaker, subject = (name, other) if rng.random() < 0.5 else (other, name)
        said.append(f'{speaker} says: "{subject} is a {kind(claim)}."')
        steps.append(
            f"{other} is a {kind(known[other])}, so what {speaker} says of {subject} is "
            f"{'true' if known[speaker] else 'false'} and {name} is a {kind(known[name])}."
        )
    last = list(known)[-1]
    prompt = (
        "On an island everyone is either a knight, who always tells the truth, or a knave, who "
        f"always lies. {joined(cast)} live there. "
        f"{' '.join(several(rng, said, len(said)) if difficulty > 1 else said)} "
    )
    if difficulty < 4:
        return Draft(f"{prompt}Is {last} a knight or a knave?", tuple(steps), kind(known[last]))
    number = sum(known.values())
    found = [name for name in cast if known[name]]
    steps.append(
        f"So {joined(found)} {'is a knight' if number == 1 else 'are knights'}, {number} in all."
        if found
        else "So none of them is a knight: 0 in all."
    )
    prompt += f"How many of these {numeral(count)} are knights?"
    return Draft(prompt, tuple(steps), str(number))


TRUTH_TEMPLATES = (
    Template("logic", "labels", labels),
    Template("logic", "knights", knights),
)
