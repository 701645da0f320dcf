"""Problems: reproducible, balanced, right. The puzzles are solved again from their prose."""

import gzip
import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from importlib.resources import files as resources
from pathlib import Path
from statistics import mean, median
from typing import TypeVar

import numpy as np
import pytest
from click.testing import CliRunner

from empirical.commands.trace_problems import problems as command
from empirical.data import bundled_evaluations, bundled_traces
from empirical.problems import (
    Problem,
    draw_problems,
    extract_answer,
    is_correct,
    prompts_hash,
    read_prompts,
    to_jsonl,
)
from empirical.traces.files import read_traces
from stopping.errors import UserError
from tests.empirical.problems import generator
from tests.empirical.problems.generator import FAMILIES
from tests.empirical.problems.generator.arithmetic import SHARES
from tests.empirical.problems.generator.draft import STEPS, Draft, Template

SETS = (draw_problems(2000, 0), draw_problems(2000, 1))
MANY = (*SETS[0], *SETS[1])
NUMERIC = [p for p in MANY if p.template not in ("order", "row", "labels", "knights")]

T = TypeVar("T")
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven")


def of(template: str) -> list[Problem]:
    found = [p for p in MANY if p.template == template]
    assert len(found) >= 40
    return found


def steps(problem: Problem) -> list[str]:
    return problem.solution.split("\n")[:-1]


def numbers(text: str) -> list[Fraction]:
    return [Fraction(found) for found in re.findall(r"\d+(?:\.\d+)?", text)]


# --- the set


def test_the_file_is_what_the_generator_writes() -> None:
    """Run `python -m tests.empirical.problems.generator` after a change that is meant."""
    packed = resources("empirical.data").joinpath(generator.FILE).read_bytes()
    assert gzip.decompress(packed).decode("utf-8") == generator.text()


def test_bundled_traces_and_evaluations_are_of_these_problems() -> None:
    for path in bundled_traces().values():
        origin = read_traces(path).provenance
        assert origin.seed == 0
        assert origin.prompts_hash == prompts_hash(draw_problems(origin.prompts, 0))
    for path in bundled_evaluations().values():
        origin = json.loads(path.read_text(encoding="utf-8"))["provenance"]
        assert origin["prompts_hash"] == prompts_hash(
            draw_problems(origin["prompts"], origin["seed"])
        )


@pytest.mark.parametrize("seed", range(6))
def test_a_seed_gives_the_same_problems_balanced(seed: int) -> None:
    drawn = draw_problems(2000, seed)
    assert drawn[:37] == draw_problems(37, seed)
    assert len({p.prompt for p in drawn}) == 2000
    assert {p.prompt for p in drawn} == {p.prompt for p in SETS[seed % 2]}
    same_place = [(p.difficulty, p.family, p.template) for p in drawn]
    assert same_place == [(p.difficulty, p.family, p.template) for p in SETS[0]]


def test_seeds_differ_and_even_and_odd_ones_share_nothing() -> None:
    firsts = [{p.prompt for p in draw_problems(60, seed)} for seed in range(8)]
    for left, right in itertools.combinations(range(8), 2):
        shared = len(firsts[left] & firsts[right])
        assert shared <= (0 if (left + right) % 2 else 10), (left, right)
    assert not {p.prompt for p in SETS[0]} & {p.prompt for p in SETS[1]}


@pytest.mark.parametrize("difficulties", [(3,), (1, 4)])
@pytest.mark.parametrize("seed", [1, 6])
def test_some_difficulties_alone(difficulties: tuple[int, ...], seed: int) -> None:
    drawn = draw_problems(300, seed, difficulties)
    assert (
        drawn == tuple(p for p in draw_problems(2000, seed) if p.difficulty in difficulties)[:300]
    )
    assert drawn[:37] == draw_problems(37, seed, difficulties)


def test_a_repeated_prompt_is_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def coin(rng: np.random.Generator, difficulty: int) -> Draft:
        side = str(rng.integers(3))
        return Draft(f"{side}?", ("It is.",), side)

    monkeypatch.setattr(generator, "FAMILIES", {"coin": (Template("coin", "coin", coin),)})
    assert {p.answer for p in generator.generate(3, 0, set())} == {"0", "1", "2"}
    with pytest.raises(RuntimeError, match="no new prompt"):
        generator.generate(4, 0, set())


def test_balanced_over_difficulty_family_and_template() -> None:
    for n in (20, 333, 2000):
        drawn = MANY[:n]
        by_difficulty = Counter(p.difficulty for p in drawn)
        assert max(by_difficulty.values()) - min(by_difficulty.values()) <= 1
        by_cell = Counter((p.difficulty, p.family) for p in drawn)
        assert len(by_cell) == 20
        assert max(by_cell.values()) - min(by_cell.values()) <= 1
    for name, templates in FAMILIES.items():
        counts = Counter(p.template for p in MANY if p.family == name)
        assert set(counts) == {template.name for template in templates}
        assert max(counts.values()) - min(counts.values()) <= 8
        assert len(templates) >= 4


def test_ids_say_what_the_problem_is() -> None:
    for chosen in SETS:
        for index, p in enumerate(chosen):
            assert p.id == f"{p.family}/{p.template}/{p.difficulty}/{index:06d}"


@pytest.mark.parametrize(
    "arguments",
    [(0,), (5, -1), (5, 0, ()), (5, 0, (0,)), (5, 0, (1, 5)), (2001,), (1001, 3, (1, 4))],
    ids=str,
)
def test_arguments_out_of_range(arguments: tuple[int]) -> None:
    with pytest.raises(UserError):
        draw_problems(*arguments)


# --- difficulty


def test_step_counts_keep_to_the_grades_and_rise_in_every_template() -> None:
    for p in MANY:
        fewest, most = STEPS[p.difficulty]
        assert fewest <= len(steps(p)) <= most, p
    for template in (t.name for templates in FAMILIES.values() for t in templates):
        means = [mean(len(steps(p)) for p in of(template) if p.difficulty == d) for d in STEPS]
        assert means == sorted(set(means)), (template, means)


@pytest.mark.parametrize("family", ["arithmetic", "rates", "ages", "change"])
def test_numbers_grow_with_difficulty(family: str) -> None:
    medians = [
        median(
            max(numbers(p.solution))
            for p in MANY
            if p.family == family and p.difficulty == difficulty
        )
        for difficulty in STEPS
    ]
    assert medians == sorted(set(medians))


# --- arithmetic: every equation of every solution, exactly

_TERM = r"\$?\d+(?:\.\d+)?(?:/\d+)?"
_EQUATION = re.compile(rf"({_TERM}(?: [-+×÷] {_TERM})+) = ({_TERM})")


def value(term: str) -> Fraction:
    return Fraction(term.replace("$", ""))


def evaluated(expression: str) -> Fraction:
    """From left to right, which for the prose's expressions is also by precedence."""
    first, *rest = expression.split(" ")
    result = value(first)
    assert not ({"+", "-"} & set(rest) and {"×", "÷"} & set(rest))
    for sign, term in zip(rest[::2], rest[1::2], strict=True):
        other = value(term)
        result = {
            "+": result + other,
            "-": result - other,
            "×": result * other,
            "÷": result / (other or 1),
        }[sign]
    return result


def wrong_equations(text: str) -> list[str]:
    """Equations that don't hold, and equals signs that belong to no equation."""
    found = list(_EQUATION.finditer(text))
    wrong = [m[0] for m in found if evaluated(m[1]) != value(m[2])]
    return wrong + ["unparsed"] * (text.count("=") - len(found))


def test_every_equation_holds() -> None:
    for p in MANY:
        assert wrong_equations(p.solution) == [], p


def test_the_check_of_equations_rejects_false_ones() -> None:
    for text in ("2 + 2 = 5.", "$1.50 × 3 = $4.05.", "1 ÷ 5/12 = 12/7.", "so x = 4."):
        assert wrong_equations(text) != []
    assert wrong_equations("1/4 + 1/6 = 5/12 and 3 × $1.50 = $4.50.") == []


def test_each_numeric_step_is_one_operation_and_the_last_gives_the_answer() -> None:
    for p in NUMERIC:
        found = [_EQUATION.findall(step) for step in steps(p)]
        assert [len(equations) for equations in found] == [1] * len(found), p
        result = value(found[-1][0][1])
        assert result == Fraction(p.answer), p
        assert result > 0


def test_numbers_of_a_step_are_told_or_found_before() -> None:
    """A step uses the prompt's numbers, earlier results, or small constants of the reasoning."""
    for p in NUMERIC:
        known = set(numbers(p.prompt)) | {Fraction(n) for n in (1, 2, 3, 4, 60, 100)}
        known |= {Fraction(i) for i, word in enumerate(WORDS) if word in p.prompt.lower()}
        known |= {Fraction(i) for i, word in SHARES.items() if word in p.prompt}
        known |= {Fraction(m) for m in re.findall(r"\d+/\d+", p.prompt)}
        for step in steps(p):
            left, right = _EQUATION.findall(step)[0]
            used = {value(term) for term in re.findall(_TERM, left)}
            rates = {term for term in used if term.numerator == 1}
            counts = p.template == "fewest"  # counts of coins come from dividing in one's head
            assert counts or used - rates <= known, (p, step)
            known |= {value(right)} | used


def test_prose_is_clean() -> None:
    for p in MANY:
        for text in (p.prompt, p.solution):
            assert not re.search(r"\b1 (?!to )[a-z]+s\b(?<!is)(?<!as)", text), text
            assert not re.search(
                r"  | [.,?]|\.\.|\ba [aeio]|\ban (?!hour)[^aeiou]|\$\d+\.\d\b", text
            ), text
            assert not re.search(r"[{}\\]|None|\b0 \w+s\b", text.replace(" 0 in all", "")), text
        assert p.prompt.endswith("?")
        assert all(step[0].isupper() or step[0].isdigit() for step in steps(p))
        assert all(step.endswith(".") for step in p.solution.split("\n"))


# --- a second solver for some of the numeric templates, from the prose alone


def simulated_filling(p: Problem) -> int:
    n = [int(x) for x in numbers(p.prompt)]
    volume, inside, first = n[:3]
    second = n[3] if p.difficulty > 1 else 0
    wait = n[4] if p.difficulty == 4 else 0
    leak = n[-1] if p.difficulty >= 3 else 0
    minutes = 0
    while inside < volume:
        inside += first + (second - leak if minutes >= wait else 0)
        minutes += 1
    assert inside == volume
    return minutes


def searched_sums(p: Problem) -> int:
    n = [int(x) for x in numbers(p.prompt)]
    if p.difficulty == 1:
        return 2 * n[0] + n[1]
    if p.difficulty == 2:
        return only(a + n[1] for a in range(200) if 2 * a + n[1] == n[0])
    years, total, gap = n[:3]
    if p.difficulty == 3:
        return only(a for a in range(200) if a + (a + gap) + 2 * years == total)
    third = gap + n[3]
    return only(a + third for a in range(200) if 3 * a + gap + third + 3 * years == total)


def searched_multiples(p: Problem) -> int:
    n = [int(x) for x in numbers(p.prompt.replace("twice", "2 times"))]
    child, parent = n[:2]
    if p.difficulty == 1:
        return parent + n[2] - child
    factor = n[2] if p.difficulty < 4 else n[3]
    years = only(y for y in range(1, 100) if parent + y == factor * (child + y))
    other = parent - n[2]
    return {2: years, 3: parent + years}.get(p.difficulty, child + parent + other + 3 * years)


def changed_coins(p: Problem) -> int:
    told = p.prompt.split("quarters")[0]
    n = [int(x) for x in numbers(told)]
    due = n[0] if p.difficulty <= 2 else n[1] - n[0]
    best = [0]
    for cents in range(1, due + 1):
        best.append(1 + min(best[cents - coin] for coin in (1, 5, 10, 25) if coin <= cents))
    return best[due]


def ridden_meeting(p: Problem) -> Fraction:
    n = numbers(p.prompt)
    apart, a, b = n[:3]
    ahead = n[3] if p.difficulty >= 3 else Fraction(0)
    time = only(t for t in map(Fraction, range(1, 60)) if a * (t + ahead) + b * t == apart)
    return a * (time + ahead) if p.difficulty in (2, 4) else time


def worked_together(p: Problem) -> Fraction:
    n = [int(x) for x in numbers(p.prompt.replace("alone for 1 hour", "alone for 1 hours"))]
    if p.difficulty == 1:
        return Fraction(n[1], n[0])
    a, b = n[:2]
    if p.difficulty == 2:
        return Fraction(n[2], a) + Fraction(n[2], b)
    alone = n[2] if p.difficulty == 4 else 0
    minutes = only(
        m
        for m in range(60 * alone, 60 * 40)
        if Fraction(m, 60 * a) + Fraction(m - 60 * alone, 60 * b) == 1
    )
    return Fraction(minutes)


def only(found: Iterator[T]) -> T:
    (one,) = found
    return one


@pytest.mark.parametrize(
    ("template", "solve"),
    [
        ("filling", simulated_filling),
        ("sums", searched_sums),
        ("multiples", searched_multiples),
        ("fewest", changed_coins),
        ("meeting", ridden_meeting),
        ("together", worked_together),
    ],
)
def test_solved_again_by_search(template: str, solve: Callable[[Problem], Fraction | int]) -> None:
    for p in of(template):
        assert solve(p) == Fraction(p.answer), p


# --- puzzles: parsed from the prose, all cases searched


def answers_order(p: Problem) -> set[str]:
    clues = re.findall(r"(\w+) is (\w+) than (\w+)\.", p.prompt)
    cast = sorted({name for a, _, b in clues for name in (a, b)})
    assert len(clues) == len(cast) - 1
    up = ("taller", "older", "faster", "heavier", "stronger")
    lows = ("shortest", "youngest", "slowest", "lightest", "weakest")
    words = re.search(r"who is the (?:(\w+) )?(\w+)\?", p.prompt)
    assert words is not None
    place = ("second", "third", "fourth", "fifth", "sixth").index(words[1]) + 1 if words[1] else 0
    found = set()
    for ranks in itertools.permutations(cast):
        at = {name: i for i, name in enumerate(ranks)}
        if all((at[a] < at[b]) == (word in up) for a, word, b in clues):
            found.add(ranks[-1] if words[2] in lows else ranks[place])
    return found


def answers_row(p: Problem) -> set[str]:
    heading, rest = p.prompt.split("to right. ")
    cast = re.findall(r"[A-Z]\w+", heading.split(" sit ")[0])
    start = re.findall(r"(\w+) is in seat (\d)\.", rest)
    near = re.findall(r"(\w+) is (just|\d seats to the) (left|right) of (\w+)\.", rest)
    assert len(start) == 1
    found = set()
    for ranks in itertools.permutations(cast):
        at = {name: i + 1 for i, name in enumerate(ranks)}
        gaps = [
            at[a] - at[b] == (1 if side == "right" else -1) * (1 if far == "just" else int(far[0]))
            for a, far, side, b in near
        ]
        if at[start[0][0]] == int(start[0][1]) and all(gaps):
            who = re.search(r"In which seat is (\w+)\?", rest)
            seat = re.search(r"Who is in seat (\d)\?", rest)
            found.add(str(at[who[1]]) if who else ranks[int(seat[1]) - 1] if seat else "")
    return found


def answers_labels(p: Problem) -> set[str]:
    labels = re.findall(
        r'The (\w+) box says: "The \w+ is (not )?in (this|the (\w+)) ?box\."', p.prompt
    )
    colours = [own for own, *_ in labels]
    told = re.search(r"(neither|both|exactly (\w+))(?: of the)? labels", p.prompt)
    assert told is not None
    number = {"neither": 0, "both": 2}.get(told[1], WORDS.index(told[2]) if told[2] else -1)
    return {
        place
        for place in colours
        if sum((place == (named or own)) != bool(no) for own, no, _, named in labels) == number
    }


def answers_knights(p: Problem) -> set[str]:
    said = re.findall(r'(\w+) says: "([^"]+)\."', p.prompt)
    living = re.search(r"lies\. ([^.]+) live there", p.prompt)
    assert living is not None
    cast = re.findall(r"[A-Z]\w+", living[1])
    found = set()
    for kinds in itertools.product((True, False), repeat=len(cast)):
        knight = dict(zip(cast, kinds, strict=True))

        def holds(speaker: str, claim: str, knight: dict[str, bool] = knight) -> bool:
            other = next(name for name in cast if re.search(rf"\b{name}\b", claim))
            a, b = knight[speaker], knight[other]
            return {
                f"{other} is a knight": b,
                f"{other} is a knave": not b,
                f"{other} and I are of the same kind": a == b,
                f"{other} and I are of different kinds": a != b,
                f"{other} and I are both knaves": not a and not b,
                f"At least one of {other} and me is a knave": not (a and b),
            }[claim]

        if all(holds(speaker, claim) == knight[speaker] for speaker, claim in said):
            asked = re.search(r"Is (\w+) a knight or a knave\?", p.prompt)
            kind = {True: "knight", False: "knave"}
            found.add(kind[knight[asked[1]]] if asked else str(sum(kinds)))
    return found


PUZZLES = [
    ("order", answers_order),
    ("row", answers_row),
    ("labels", answers_labels),
    ("knights", answers_knights),
]


@pytest.mark.slow
@pytest.mark.parametrize(("template", "search"), PUZZLES)
def test_the_puzzle_has_one_solution_and_it_is_ours(
    template: str, search: Callable[[Problem], set[str]]
) -> None:
    for p in of(template):
        assert search(p) == {p.answer}, p


def test_the_search_sees_when_a_clue_is_missing() -> None:
    """The negative control: without a clue, or with another count, the answer isn't fixed."""
    found = []
    for p in of("row"):
        clue = re.findall(r"\w+ is (?:just|\d seats)[^.]*\. ", p.prompt)[-1]
        looser = Problem("", "", "", 1, p.prompt.replace(clue, ""), "", "")
        found.append(answers_row(looser))
        assert p.answer in found[-1]
    # The other clues may fix the seat by chance, where they leave just one way to fit in.
    assert mean(len(answers) > 1 for answers in found) > 0.5
    p = next(p for p in of("labels") if "exactly one" in p.prompt)
    changed = p.prompt.replace("exactly one of the labels is", "exactly two of the labels are")
    assert answers_labels(Problem("", "", "", 1, changed, "", "")) != {p.answer}


def test_overlapping_groups_by_counting_heads() -> None:
    for p in of("overlap"):
        n = [int(x) for x in numbers(p.prompt)]
        if p.difficulty == 1:
            found = n[0] + n[1] - n[2]
        elif p.difficulty == 2:
            found = sum(
                1
                for head in range(n[0])
                if head >= n[1] and not (n[1] - n[3] <= head < n[1] - n[3] + n[2])
            )
        elif p.difficulty == 3:
            total, one, two, none = n
            found = only(
                one + two - 2 * x for x in range(min(one, two) + 1) if one + two - x + none == total
            )
        else:
            total, one, two, three, ab, ac, bc, abc = n
            parts = [
                abc,
                ab - abc,
                ac - abc,
                bc - abc,
                one - ab - ac + abc,
                two - ab - bc + abc,
                three - ac - bc + abc,
            ]
            assert min(parts) >= 0
            found = total - sum(parts)
        assert found == int(p.answer), p


# --- files


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "problems.jsonl"
    path.write_text(to_jsonl(MANY[:200]), encoding="utf-8")
    assert read_prompts(path) == MANY[:200]


def test_a_users_own_prompts(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    rows = [
        {"prompt": "Where?\u2028Here?", "reference": "Über there."},
        {"prompt": "2+2?", "reference": "4", "answer": "4", "difficulty": 2, "family": "sums",
         "id": "mine", "note": [1]},
    ]  # fmt: skip
    text = "\r\n\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    first, second = read_prompts(path)
    assert first == Problem(
        "user/000001", "user", "user", 0, "Where?\u2028Here?", "Über there.", ""
    )
    assert second == Problem("mine", "sums", "sums", 2, "2+2?", "4", "4")


def test_prompts_of_a_template_are_a_group_unless_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    row = {"prompt": "2+2?", "reference": "4", "family": "sums"}
    rows = [row, {**row, "template": "two"}, {**row, "template": "two", "group": "book 7"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [problem.group for problem in read_prompts(path)] == ["", "sums/two", "book 7"]
    assert {p.group for p in MANY[:200]} == {f"{p.family}/{p.template}" for p in MANY[:200]}


GOOD = b'{"prompt": "p", "reference": "r"}\n'


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"\n  \n", "empty"),
        (GOOD + b'{"prompt": "p", \n', "line 2: not JSON"),
        (GOOD + b'["p", "r"]\n', "line 2: a JSON object .* not a list"),
        (GOOD + b'{"prompt": "p"}\n', "line 2: the field 'reference' is missing"),
        (GOOD + b'\n{"reference": "r"}\n', "line 3: the field 'prompt' is missing"),
        (b'{"prompt": 3, "reference": "r"}', "line 1: 'prompt' should be a string, not a number"),
        (b'{"prompt": "p", "reference": null}', "'reference' should be a string, not null"),
        (b'{"prompt": " ", "reference": "r"}', "'prompt' is empty"),
        (b'{"prompt": "p", "reference": "r", "answer": 4}', "'answer' should be a string"),
        (b'{"prompt": "p", "reference": "r", "difficulty": "3"}', "'difficulty' should be"),
        (b'{"prompt": "p", "reference": "r", "difficulty": true}', "'difficulty' should be"),
        (b'{"prompt": "p", "reference": "r", "difficulty": 5}', "'difficulty' should be"),
        (b'{"prompt": "p", "reference": "r", "difficulty": 2.5}', "'difficulty' should be"),
        (b'{"prompt": "\\ud800", "reference": "r"}', "half a surrogate"),
        (GOOD + b'{"prompt": "caf\xe9", "reference": "r"}', "line 2: not UTF-8"),
        (GOOD.decode().encode("utf-16"), "line 1: not UTF-8"),
        (b'{"prompt": "p", "reference": "r", "id": "a"}\n' * 2, "line 2: the id 'a' .* line 1"),
        (b"[" * 200_000, "line 1: not usable as JSON|line 1: not JSON"),
        (b'{"difficulty": ' + b"9" * 5000 + b"}", "line 1: not usable as JSON"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_bad_files(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(data)
    with pytest.raises(UserError, match=message) as raised:
        read_prompts(path)
    assert "bad.jsonl" in str(raised.value)


def test_a_solution_is_asked_for_only_where_it_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "asked.jsonl"
    path.write_text('{"prompt": "p"}\n{"prompt": "q", "reference": "r"}\n')
    assert [problem.solution for problem in read_prompts(path, references=False)] == ["", "r"]
    path.write_text('{"prompt": "p", "reference": 3}')
    with pytest.raises(UserError, match="'reference' should be a string"):
        read_prompts(path, references=False)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_prompts(tmp_path / "none.jsonl")
    with pytest.raises(UserError, match="cannot be read"):
        read_prompts(tmp_path)


def test_hash_depends_on_id_prompt_solution_and_order_alone() -> None:
    base = Problem("i", "f", "t", 1, "p", "s", "a")
    assert prompts_hash([base]) == prompts_hash([Problem("i", "g", "u", 2, "p", "s", "b")])
    others = [
        [Problem("j", "f", "t", 1, "p", "s", "a")],
        [Problem("i", "f", "t", 1, "q", "s", "a")],
        [Problem("i", "f", "t", 1, "p", "r", "a")],
        [Problem("ip", "f", "t", 1, "", "s", "a")],
        [base, base],
    ]
    hashes = {prompts_hash(row) for row in [[base], *others]}
    assert len(hashes) == 6
    assert prompts_hash(MANY[:2]) != prompts_hash(MANY[1::-1])


# --- answers


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is 42.", "42"),
        ("The answer is 3. No: the answer is 4.", "4"),
        ("The final answer is: **1,234**.", "1234"),
        ("Answer: 17 apples", "17"),
        ("the answer is $3.50.", "3.5"),
        ("The answer is $\\boxed{7}$.", "7"),
        ("The answer is -5 degrees.", "-5"),
        ("The answer is −5.", "-5"),
        ("The answer is 6/8 of the fence.", "3/4"),
        ("The answer is 1 1/2 hours.", "3/2"),
        ("The answer is 3 × 4 = 12.", "12"),
        ("The answer is Ada.", "Ada"),
        ("The answer is: a knave, since he lies.", "knave"),
        ("The answer is the **red** box.", "red box"),
        ("The answer is 0042.00.", "42"),
        ("The answer is .5", "0.5"),
        ("The answer is 25%.", "25"),
        ("The answer is\n", None),
        ("So we get \\boxed{\\frac{6}{8}} and 9 more.", "3/4"),
        ("\\boxed{1} or rather \\boxed{42 \\text{ km}}", "42"),
        ("\\boxed{1{,}200}", "1200"),
        ("First 3, then 4 × 5 = 20.", "20"),
        ("It costs $1,050.25.", "1050.25"),
        ("There are 1,2 and 3", "3"),
        ("In 2024, 7", "7"),
        ("On A4 paper", None),
        ("It is 12km away", "12"),
        ("I don't know.", None),
        ("", None),
        ("The answer is 5/0.", "5/0"),
        ("The answer is " + "9" * 6000 + ".", "9" * 6000),
    ],
)
def test_extract_answer(text: str, answer: str | None) -> None:
    assert extract_answer(text) == answer


def test_the_reference_solutions_are_correct_and_others_not() -> None:
    for p in MANY:
        assert extract_answer(p.solution) == p.answer
        assert is_correct(p, p.solution)
        assert not is_correct(p, "The answer is 987654321.")
        assert not is_correct(p, "")


def test_numbers_are_compared_by_value_and_names_by_letters() -> None:
    half = Problem("i", "f", "t", 1, "p", "s", "1/2")
    assert is_correct(half, "The answer is 0.50.")
    assert not is_correct(half, "The answer is 0.51.")
    name = Problem("i", "f", "t", 1, "p", "s", "Ada")
    assert is_correct(name, "The answer is ADA")
    assert not is_correct(name, "The answer is not Ada.")
    with pytest.raises(UserError, match="no answer"):
        is_correct(Problem("i", "f", "t", 1, "p", "s", ""), "The answer is 3.")


# --- the command


def test_command_writes_what_is_read_back(tmp_path: Path) -> None:
    out = tmp_path / "new" / "p.jsonl"
    arguments = ["--n", "12", "--seed", "5", "--difficulty", "3", "--out", str(out)]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0
    drawn = draw_problems(12, 5, (3,))
    assert read_prompts(out) == drawn
    assert prompts_hash(drawn) in result.output
    as_json = CliRunner().invoke(command, [*arguments, "--json"])
    assert json.loads(as_json.output) == {
        "n": 12, "seed": 5, "hash": prompts_hash(drawn), "out": str(out),
    }  # fmt: skip


def test_command_shows_and_prints_json() -> None:
    shown = CliRunner().invoke(command, ["--n", "3"])
    assert shown.exit_code == 0
    assert all(p.answer in shown.output for p in draw_problems(3))
    assert "The answer is" in shown.output
    rows = json.loads(CliRunner().invoke(command, ["--n", "3", "--json"]).output)["problems"]
    assert [row["prompt"] for row in rows] == [p.prompt for p in draw_problems(3)]


@pytest.mark.parametrize("arguments", [["--n", "0"], ["--difficulty", "5"], ["--seed", "-1"]])
def test_command_refuses(arguments: list[str]) -> None:
    assert CliRunner().invoke(command, arguments).exit_code == 2


def test_help_has_examples() -> None:
    text = CliRunner().invoke(command, ["--help"]).output
    assert "stopping trace problems --n 5 --difficulty 3\n" in text
