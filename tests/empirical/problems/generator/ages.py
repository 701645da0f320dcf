"""Family `ages`: generations, comparisons, sums of ages, times as old."""

import itertools

import numpy as np

from tests.empirical.problems.generator.draft import Draft, Template, choice, few, whole
from tests.empirical.problems.generator.wording import joined, numeral, people, times


def generations(rng: np.random.Generator, difficulty: int) -> Draft:
    """A child, its mother and its grandmother."""
    child, younger = people(rng, 2)
    at_child, at_mother = whole(rng, 20, 38), whole(rng, 18, 32)
    age, years = whole(rng, 3, 12), whole(rng, 2, 6 + 2 * difficulty)
    born = f"mother was {at_child} when {child.name} was born"
    if difficulty <= 2:
        prompt = f"{child.name} is {age} years old. {child.their.capitalize()} {born}"
        steps = []
    else:
        gap, age = age, age + whole(rng, 1, 5)
        known = age - gap
        years_old = "1 year old" if known == 1 else f"{known} years old"
        gap_text = "1 year" if gap == 1 else f"{gap} years"
        prompt = (
            f"{younger.name} is {years_old}. {child.name}, who has the same mother, is {gap_text} "
            f"older than {younger.name}. Their {born}"
        )
        steps = [f"{child.name} is {known} + {gap} = {age} years old."]
    prompt += f", and their grandmother was {at_mother} when their mother was born."
    if difficulty <= 2:
        prompt = prompt.replace("their", child.their)
    mother = age + at_child
    granny = mother + at_mother
    steps.append(f"The mother is {age} + {at_child} = {mother} years old.")
    steps.append(f"The grandmother is {mother} + {at_mother} = {granny} years old.")
    if difficulty == 1:
        prompt += " How old is the grandmother?"
        return Draft(prompt, tuple(steps), str(granny))
    if difficulty < 4:
        steps.append(f"In {years} years she will be {granny} + {years} = {granny + years}.")
        prompt += f" How old will the grandmother be in {years} years?"
        return Draft(prompt, tuple(steps), str(granny + years))
    ages = (known, age, mother, granny)
    total = sum(ages)
    steps += [
        f"Today the four are {' + '.join(map(str, ages))} = {total} years old together.",
        f"In {years} years their ages will have grown by 4 × {years} = {4 * years} years.",
        f"Then they will be {total} + {4 * years} = {total + 4 * years} years old together.",
    ]
    prompt += (
        f" In {years} years, what will be the sum of the ages of the two children, "
        "their mother and their grandmother?"
    )
    return Draft(prompt, tuple(steps), str(total + 4 * years))


def cousins(rng: np.random.Generator, difficulty: int) -> Draft:
    """Each age is told by comparison with the one before."""
    cast = people(rng, {1: 2, 2: 3, 3: 4, 4: 4}[difficulty])
    ages = [whole(rng, 4, 6 + 3 * difficulty)]
    story = [f"{cast[0].name} is {ages[0]} years old."]
    steps = []
    doubled = False
    for before, who in itertools.pairwise(cast):
        known, relation = ages[-1], choice(rng, ("times", "older", "younger"))
        gap = whole(rng, 2, 3 + 2 * difficulty)
        if relation == "times" and not doubled:
            doubled, gap = True, whole(rng, 2, 3)
            sign, age, words = "×", known * gap, f"{times(gap)} as old as"
        elif relation == "younger" and known - gap >= 3:
            sign, age, words = "-", known - gap, f"{gap} years younger than"
        else:
            sign, age, words = "+", known + gap, f"{gap} years older than"
        story.append(f"{who.name} is {words} {before.name}.")
        steps.append(f"{who.name} is {known} {sign} {gap} = {age} years old.")
        ages.append(age)
    years = few(rng, difficulty)
    if difficulty < 4:
        last, age = cast[-1], ages[-1]
        story.append(f"How old will {last.name} be in {years} years?")
        steps.append(f"In {years} years {last.they} will be {age} + {years} = {age + years}.")
        return Draft(" ".join(story), tuple(steps), str(age + years))
    total, grown = sum(ages), len(ages) * years
    names, head = joined([who.name for who in cast]), numeral(len(cast))
    story.append(f"How old will {names} be together in {years} years?")
    steps += [
        f"Today the {head} are {' + '.join(map(str, ages))} = {total} years old together.",
        f"In {years} years their ages will have grown by {len(ages)} × {years} = {grown} years.",
        f"Then they will be {total} + {grown} = {total + grown} years old together.",
    ]
    return Draft(" ".join(story), tuple(steps), str(total + grown))


def sums(rng: np.random.Generator, difficulty: int) -> Draft:
    """A sum and differences of ages."""
    first, second, third = people(rng, 3)
    a, gap, more = whole(rng, 4, 12 * difficulty), whole(rng, 2, 4 + 3 * difficulty), 0
    years = few(rng, difficulty)
    if difficulty == 1:
        prompt = (
            f"{first.name} is {a} years old and {second.name} is {gap} years older. "
            "What is the sum of their ages?"
        )
        steps = [
            f"{second.name} is {a} + {gap} = {a + gap} years old.",
            f"Their ages add up to {a} + {a + gap} = {2 * a + gap}.",
        ]
        return Draft(prompt, tuple(steps), str(2 * a + gap))
    older = f"{second.name} is {gap} years older than {first.name}"
    if difficulty == 2:
        total = 2 * a + gap
        prompt = (
            f"The ages of {first.name} and {second.name} add up to {total}. {older}. "
            f"How old is {second.name}?"
        )
        steps = [
            f"Twice {first.name}'s age is {total} - {gap} = {2 * a}.",
            f"{first.name} is {2 * a} ÷ 2 = {a} years old.",
            f"{second.name} is {a} + {gap} = {a + gap} years old.",
        ]
        return Draft(prompt, tuple(steps), str(a + gap))
    if difficulty == 3:
        now = 2 * a + gap
        total = now + 2 * years
        prompt = (
            f"In {years} years the ages of {first.name} and {second.name} will add up to {total}. "
            f"{older}. How old is {first.name} now?"
        )
        steps = [
            f"In {years} years the two ages grow by 2 × {years} = {2 * years} together.",
            f"So today they add up to {total} - {2 * years} = {now}.",
            f"Twice {first.name}'s age is {now} - {gap} = {2 * a}.",
            f"{first.name} is {2 * a} ÷ 2 = {a} years old.",
        ]
        return Draft(prompt, tuple(steps), str(a))
    more = whole(rng, 2, 10)
    far = gap + more
    now = 3 * a + gap + far
    total = now + 3 * years
    prompt = (
        f"In {years} years the ages of {first.name}, {second.name} and {third.name} will add up to "
        f"{total}. {older}, and {third.name} is {more} years older than {second.name}. "
        f"How old is {third.name} now?"
    )
    steps = [
        f"In {years} years the three ages grow by 3 × {years} = {3 * years} together.",
        f"So today they add up to {total} - {3 * years} = {now}.",
        f"{third.name} is {gap} + {more} = {far} years older than {first.name}.",
        f"Three times {first.name}'s age is {now} - {gap} - {far} = {3 * a}.",
        f"{first.name} is {3 * a} ÷ 3 = {a} years old.",
        f"{third.name} is {a} + {far} = {a + far} years old.",
    ]
    return Draft(prompt, tuple(steps), str(a + far))


def multiples(rng: np.random.Generator, difficulty: int) -> Draft:
    """When will a parent be so many times as old as the child?"""
    child, parent = people(rng, 2)
    bond = "mother" if parent.they == "she" else "father"
    kin = f"{child.their} {bond} {parent.name}"
    factor = whole(rng, 3, 5)
    while True:
        gap = whole(rng, 21, 40)
        then = gap // (factor - 1)
        if gap % (factor - 1) == 0 and then > 4:
            break
    age = whole(rng, 2, then - 2)
    years, old = then - age, age + gap
    prompt = f"{child.name} is {age} years old and {kin} is {old}. "
    steps = [f"{parent.name} is {old} - {age} = {gap} years older than {child.name}."]
    if difficulty == 1:
        later = whole(rng, age + 2, age + 40)
        prompt += f"How old will {parent.name} be when {child.name} is {later}?"
        steps.append(f"When {child.name} is {later}, {parent.name} will be "
                     f"{later} + {gap} = {later + gap}.")  # fmt: skip
        return Draft(prompt, tuple(steps), str(later + gap))
    when = f"{parent.name} is {times(factor)} as old as {child.name}"
    steps += [
        f"When {when}, this difference is {factor - 1} times {child.name}'s age, "
        f"so {child.name} is then {gap} ÷ {factor - 1} = {then}.",
        f"That is in {then} - {age} = {years} years.",
    ]
    if difficulty == 2:
        prompt += f"In how many years will {parent.name} be {times(factor)} as old as {child.name}?"
        return Draft(prompt, tuple(steps), str(years))
    if difficulty == 3:
        prompt += (
            f"How old will {parent.name} be when {parent.they} is {times(factor)} as old as "
            f"{child.name}?"
        )
        steps.append(f"{parent.name} will then be {old} + {years} = {old + years}.")
        return Draft(prompt, tuple(steps), str(old + years))
    aunt, younger = next(who for who in people(rng, 3) if who not in (child, parent)), few(rng, 4)
    other = old - younger
    prompt += (
        f"{child.their.capitalize()} {'aunt' if aunt.they == 'she' else 'uncle'} {aunt.name} is "
        f"{younger} years younger than {parent.name}. When {when}, what will be the sum of the "
        f"ages of {child.name}, {parent.name} and {aunt.name}?"
    )
    total = then + old + years + other + years
    steps += [
        f"{parent.name} will then be {old} + {years} = {old + years}.",
        f"{aunt.name} will then be {old + years} - {younger} = {other + years}.",
        f"The sum will be {then} + {old + years} + {other + years} = {total}.",
    ]
    return Draft(prompt, tuple(steps), str(total))


TEMPLATES = (
    Template("ages", "generations", generations),
    Template("ages", "cousins", cousins),
    Template("ages", "sums", sums),
    Template("ages", "multiples", multiples),
)
