"""Family `rates`: journeys, filling, crews, work done together, meeting on the road."""

from fractions import Fraction

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
from tests.empirical.problems.generator.wording import fraction, people

MODES = (
    ("walks", 3, 6),
    ("jogs", 8, 12),
    ("cycles", 13, 25),
    ("drives", 40, 90),
    ("rides a pony", 7, 13),
    ("travels by boat", 14, 34),
    ("travels by bus", 30, 55),
    ("travels by train", 70, 140),
)
FEET = (("walk", 3, 7), ("jog", 7, 13), ("cycle", 12, 26))
WHEELS = (("cycle", 12, 26), ("drive", 40, 90), ("ride motor scooters", 20, 45))
VESSELS = ("pond", "pool", "water tank", "cistern", "fountain", "paddling pool", "water trough")
CREWS = (
    ("painters", "paint a school", "doors", "paints"),
    ("gardeners", "plant a park", "trees", "plants"),
    ("bricklayers", "build a wall", "metres of wall", "builds"),
    ("roofers", "cover a roof", "square metres of roof", "covers"),
    ("farmhands", "harvest a vineyard", "vines", "harvests"),
    ("tilers", "tile a station", "square metres of floor", "tiles"),
    ("archivists", "sort an archive", "folders", "sorts"),
    ("tailors", "sew the costumes for an opera", "coats", "sews"),
)
JOBS = (
    ("paint a fence", "fence", "paints"),
    ("mow a meadow", "meadow", "mows"),
    ("weed a vegetable garden", "vegetable garden", "weeds"),
    ("type up a manuscript", "manuscript", "types up"),
    ("wallpaper a flat", "flat", "wallpapers"),
    ("translate a brochure", "brochure", "translates"),
    ("dig a ditch", "ditch", "digs"),
    ("polish a boat", "boat", "polishes"),
)


def journey(rng: np.random.Generator, difficulty: int) -> Draft:
    """Distance, time and speed over one to three legs."""
    (who,) = people(rng, 1)
    legs = {1: 1, 2: 2, 3: 2, 4: 3}[difficulty]
    while True:
        modes = several(rng, MODES, legs)
        hours = [whole(rng, 2, 2 + difficulty) for _ in modes]
        speeds = [whole(rng, low, high) for _, low, high in modes]
        ways = [hour * speed for hour, speed in zip(hours, speeds, strict=True)]
        if difficulty < 4 or sum(ways) % sum(hours) == 0:
            break
    told = [
        f"{mode} for {hour} hours at {speed} km per hour"
        for (mode, _, _), hour, speed in zip(modes, hours, speeds, strict=True)
    ]
    steps = [
        f"{_leg(i, legs)} is {speed} × {hour} = {way} km long."
        for i, (hour, speed, way) in enumerate(zip(hours, speeds, ways, strict=True))
    ]
    total = sum(ways)
    if difficulty == 1:
        prompt = f"{who.name} {told[0]}. How many kilometres long is the trip?"
        return Draft(prompt, tuple(steps), str(total))
    if difficulty == 2:
        prompt = f"{who.name} {told[0]} and then {told[1]}. How many kilometres long is the trip?"
        steps.append(f"The whole trip is {ways[0]} + {ways[1]} = {total} km long.")
        return Draft(prompt, tuple(steps), str(total))
    if difficulty == 3:
        prompt = (
            f"{who.name} sets out on a trip of {total} km. First {who.they} {told[0]}. "
            f"Then {who.they} {modes[1][0]} the rest of the way at {speeds[1]} km per hour. "
            "How many hours does the trip take altogether?"
        )
        steps[1:] = [
            f"The rest of the way is {total} - {ways[0]} = {ways[1]} km long.",
            f"It takes {ways[1]} ÷ {speeds[1]} = {hours[1]} hours.",
            f"The trip takes {hours[0]} + {hours[1]} = {sum(hours)} hours.",
        ]
        return Draft(prompt, tuple(steps), str(sum(hours)))
    prompt = (
        f"{who.name} {told[0]}, then {told[1]} and at last {told[2]}. "
        f"What is {who.their} average speed on the whole trip, in km per hour?"
    )
    mean = total // sum(hours)
    steps += [
        f"The whole trip is {' + '.join(map(str, ways))} = {total} km long.",
        f"It takes {' + '.join(map(str, hours))} = {sum(hours)} hours.",
        f"The average speed is {total} ÷ {sum(hours)} = {mean} km per hour.",
    ]
    return Draft(prompt, tuple(steps), str(mean))


def _leg(index: int, legs: int) -> str:
    """Name the leg of a trip at the start of a sentence."""
    return "The trip" if legs == 1 else f"The {('first', 'second', 'third')[index]} part"


def filling(rng: np.random.Generator, difficulty: int) -> Draft:
    """Hoses fill a vessel, which may leak."""
    (owner,) = people(rng, 1)
    vessel = choice(rng, VESSELS)
    first, second = size(rng, difficulty), size(rng, difficulty)
    rate = first if difficulty == 1 else first + second
    leak = whole(rng, 2, rate // 2) if difficulty >= 3 else 0
    minutes, inside = few(rng, difficulty) + 2, 5 * size(rng, difficulty)
    alone = few(rng, difficulty) if difficulty == 4 else 0
    early = alone * first
    missing = (rate - leak) * minutes
    volume = inside + early + missing
    prompt = f"{owner.name}'s {vessel} holds {volume} litres. It has {inside} litres in it. "
    steps = []
    if difficulty == 1:
        prompt += f"A hose brings {first} litres per minute. "
    else:
        prompt += f"One hose brings {first} litres per minute and another brings {second}. "
    if difficulty == 3:
        prompt += f"All the while {leak} litres per minute run out through a leak. "
    if difficulty == 4:
        prompt += (
            f"For the first {alone} minutes only the first hose is open. Then the second hose is "
            f"opened too, and at the same moment a leak begins, through which {leak} litres per "
            "minute run out. "
        )
        steps.append(f"Alone, the first hose brings {alone} × {first} = {early} litres.")
        steps.append(f"Then the {vessel} has {inside} + {early} = {inside + early} litres in it.")
    start = inside + early
    steps.append(f"There is still room for {volume} - {start} = {missing} litres.")
    if difficulty > 1:
        steps.append(f"Together the hoses bring {first} + {second} = {rate} litres per minute.")
    if leak:
        steps.append(f"With the leak, {rate} - {leak} = {rate - leak} litres per minute are added.")
    then = "After that it" if alone else "It"
    steps.append(f"{then} takes {missing} ÷ {rate - leak} = {minutes} minutes to fill up.")
    if alone:
        steps.append(f"In all it takes {alone} + {minutes} = {alone + minutes} minutes.")
    since = "from the beginning " if alone else ""
    prompt += f"How many minutes does it take {since}until the {vessel} is full?"
    return Draft(prompt, tuple(steps), str(alone + minutes))


def crews(rng: np.random.Generator, difficulty: int) -> Draft:
    """Workers at the same pace; crews that grow and shrink."""
    workers, job, pieces, does = choice(rng, CREWS)
    if difficulty == 1:
        team, pace, hours = few(rng, 2), size(rng, 1), whole(rng, 2, 9)
        prompt = (
            f"Each of {team} {workers} {does} {pace} {pieces} in an hour. "
            f"How many {pieces} does the team manage in {hours} hours?"
        )
        steps = [
            f"In one hour the team manages {team} × {pace} = {team * pace} {pieces}.",
            f"In {hours} hours it manages {team * pace} × {hours} = "
            f"{team * pace * hours} {pieces}.",
        ]
        return Draft(prompt, tuple(steps), str(team * pace * hours))
    if difficulty == 2:
        while True:
            team, days, more = whole(rng, 2, 12), whole(rng, 3, 18), whole(rng, 2, 12)
            if team * days % (team + more) == 0 and team * days > team + more:
                break
        grown, work = team + more, team * days
        prompt = (
            f"It takes {team} {workers} {days} days to {job}. How many days would it take if "
            f"{more} more {workers} helped from the start, all working at the same pace?"
        )
        steps = [
            f"The whole job takes {team} × {days} = {work} worker-days.",
            f"The larger team has {team} + {more} = {grown} {workers}.",
            f"It takes {work} ÷ {grown} = {work // grown} days.",
        ]
        return Draft(prompt, tuple(steps), str(work // grown))
    while True:
        team, days = whole(rng, 5, 10 * difficulty - 10), whole(rng, 8, 12 * difficulty)
        early, later = whole(rng, 2, days - 4), whole(rng, 2, 8)
        gone, back = whole(rng, 2, team - 2), whole(rng, 2, team)
        work, done = team * days, team * early
        if difficulty == 3 and (work - done) % (team - gone) == 0:
            break
        small, large = team - gone, team - gone + back
        rest = work - done - small * later
        if difficulty == 4 and back != gone and rest > large and rest % large == 0:
            break
    prompt = f"A team of {team} {workers} would need {days} days to {job}. After {early} days "
    steps = [
        f"The whole job takes {team} × {days} = {work} worker-days.",
        f"In the first {early} days the team does {team} × {early} = {done} worker-days.",
    ]
    if difficulty == 3:
        prompt += (
            f"only {team - gone} of them go on, at the same pace. "
            "How many more days do these need to finish the job?"
        )
        rest = work - done
        steps += [
            f"That leaves {work} - {done} = {rest} worker-days.",
            f"The {team - gone} {workers} need {rest} ÷ {team - gone} = {rest // (team - gone)} "
            "more days.",
        ]
        return Draft(prompt, tuple(steps), str(rest // (team - gone)))
    prompt += (
        f"{gone} of them leave. After {later} more days {back} new {workers} join those who "
        "stayed. Everyone works at the same pace. "
        "How many days after the new ones join is the job finished?"
    )
    steps += [
        f"Then {team} - {gone} = {small} {workers} go on.",
        f"In the next {later} days they do {small} × {later} = {small * later} worker-days.",
        f"That leaves {work} - {done} - {small * later} = {rest} worker-days.",
        f"With the new ones there are {small} + {back} = {large} {workers}.",
        f"They need {rest} ÷ {large} = {rest // large} more days.",
    ]
    return Draft(prompt, tuple(steps), str(rest // large))


def together(rng: np.random.Generator, difficulty: int) -> Draft:
    """Fractions of a job: the rates of two people add up."""
    first, second = people(rng, 2)
    job, thing, does = choice(rng, JOBS)
    one = Fraction(1)
    while True:
        a, b = whole(rng, 3, 4 + 3 * difficulty), whole(rng, 3, 4 + 4 * difficulty)
        hours = whole(rng, 1 if difficulty == 4 else 2, a - 1)
        rate = one / a + one / b
        rest = one - Fraction(hours, a) if difficulty == 4 else one
        minutes = 60 * rest / rate
        whole_minutes = minutes.denominator == 1 and minutes != 60 and a != b
        if {1: True, 2: hours * rate < 1 and a != b}.get(difficulty, whole_minutes):
            break
    if difficulty == 1:
        prompt = (
            f"It takes {first.name} {a} hours to {job} at a steady pace. "
            f"What fraction of the {thing} has {first.they} done after {hours} hours?"
        )
        share = Fraction(hours, a)
        steps = [f"In {hours} hours {first.name} {does} {hours} ÷ {a} = {share} of the {thing}."]
        return Draft(prompt, tuple(steps), fraction(share))
    prompt = (
        f"It takes {first.name} {a} hours to {job} alone, and it takes {second.name} {b} hours. "
    )
    both = f"Together they do 1/{a} + 1/{b} = {rate} of the job in one hour."
    if difficulty == 2:
        prompt += (
            "They work together, each at a steady pace. "
            f"What fraction of the {thing} have they done after {hours} hours?"
        )
        share = hours * rate
        steps = [both, f"In {hours} hours they do {hours} × {rate} = {share} of it."]
        return Draft(prompt, tuple(steps), fraction(share))
    spent = rest / rate
    takes = f"It takes them 1 ÷ {rate} = {spent} hours to do it all."
    if difficulty == 3:
        prompt += "How many minutes does it take when they work together?"
        steps = [both, takes, f"That is {spent} × 60 = {minutes} minutes."]
        return Draft(prompt, tuple(steps), fraction(minutes))
    alone = f"{hours} hours" if hours > 1 else "1 hour"
    prompt += (
        f"{first.name} works alone for {alone}; then {second.name} joins {first.them} until the "
        "job is done. How many minutes does the whole job take?"
    )
    done = Fraction(hours, a)
    steps = [
        f"Alone, {first.name} does {hours} ÷ {a} = {done} of the job.",
        f"That leaves 1 - {done} = {rest} of it.",
        both,
        f"For the rest they need {rest} ÷ {rate} = {spent} hours.",
        f"That is {spent} × 60 = {minutes} minutes.",
        f"{first.name}'s time alone is {hours} × 60 = {hours * 60} minutes.",
        f"The whole job takes {hours * 60} + {minutes} = {hours * 60 + minutes} minutes.",
    ]
    return Draft(prompt, tuple(steps), fraction(hours * 60 + minutes))


def meeting(rng: np.random.Generator, difficulty: int) -> Draft:
    """Two people travel towards each other; one may start earlier."""
    first, second = people(rng, 2)
    verb, low, high = choice(rng, FEET)
    if difficulty >= 3:
        verb, low, high = choice(rng, WHEELS)
    a, b, hours = whole(rng, low, high), whole(rng, low, high), whole(rng, 2, 3 + difficulty)
    ahead = whole(rng, 1, 1 + difficulty) if difficulty >= 3 else 0
    early = ahead * a
    apart = early + (a + b) * hours
    gap = apart - early
    prompt = f"{first.name} and {second.name} live {apart} km apart. "
    speeds = f"{first.name} at {a} km per hour and {second.name} at {b} km per hour. "
    steps = []
    if ahead:
        span = "1 hour" if ahead == 1 else f"{ahead} hours"
        prompt += f"They {verb} towards each other, {speeds}"
        prompt += f"{first.name} sets out {span} before {second.name}. "
        steps.append(
            f"Before {second.name} starts, {first.name} covers {ahead} × {a} = {early} km."
        )
        steps.append(f"Then they are {apart} - {early} = {gap} km apart.")
    else:
        prompt += f"They start at the same time and {verb} towards each other, {speeds}"
    steps.append(f"They come {a} + {b} = {a + b} km closer every hour.")
    start = f"After {second.name} sets out they" if ahead else "They"
    steps.append(f"{start} need {gap} ÷ {a + b} = {hours} hours to meet.")
    if difficulty in (1, 3):
        since = f" after {second.name} sets out" if ahead else ""
        prompt += f"How many hours{since or ' later'} do they meet?"
        return Draft(prompt, tuple(steps), str(hours))
    steps.append(f"In these hours {first.name} covers {hours} × {a} = {hours * a} km.")
    if difficulty == 4:
        steps.append(f"In all {first.name} covers {early} + {hours * a} = {early + hours * a} km.")
    prompt += f"How many kilometres from {first.name}'s home do they meet?"
    return Draft(prompt, tuple(steps), str(early + hours * a))


TEMPLATES = (
    Template("rates", "journey", journey),
    Template("rates", "filling", filling),
    Template("rates", "crews", crews),
    Template("rates", "together", together),
    Template("rates", "meeting", meeting),
)
