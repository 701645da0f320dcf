"""The report: every verdict on traces with a known truth, and a page that needs nothing else."""

import io
import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console

import empirical.commands.report as command
from empirical.analysis.audit import Status, audit
from empirical.analysis.validate import Comparison, validate
from empirical.numbers import NONE, interval, level, number, percent, points, sentence
from empirical.report import Answer, Guarantee, Report, compute
from empirical.report.curves import visible
from empirical.report.page import render_page
from empirical.report.results import Effort, count_steps
from empirical.report.terminal import broken, show, show_summary
from empirical.report.verdict import MATERIAL, ModelVerdict, covering_level, judge, qualifies
from empirical.traces.files import Traces, write_traces
from stopping.cli.main import exit_code
from stopping.errors import UserError
from stopping.figures.inline import inline_svg
from stopping.figures.theme import PALETTE, blank, settings
from stopping.support.documents import as_json
from stopping.support.statistics import Interval
from tests.empirical.synthetic import calibrated, from_entropies, traces_from, with_mode

TINY = Effort(replicates=100, claims=0.0005)
K = 10


def named(traces: Traces, model: str, lens: str = "raw") -> Traces:
    return replace(traces, provenance=replace(traces.provenance, model=model, lens=lens))


def verdict_of(traces: Traces) -> ModelVerdict:
    validation = (
        None if traces.provenance.mode == "generated" else validate(traces, None, K, 0, 200)
    )
    return judge(audit(traces, K, 0, 200), validation, traces.provenance.lens)


def overconfident() -> Traces:
    """Every layer but the last pays 1.5 nats more than its entropy promises."""
    return calibrated(seed=3, prompts=160, tokens=10, layer_shift=dict.fromkeys(range(11), 1.5))


def with_entropy(x: np.ndarray, prompts: int, gap: np.ndarray | float = 0.0) -> Traces:
    """Tokens whose log-loss is their entropy plus `gap`: calibrated where it is zero."""
    n = len(x)
    return traces_from(x, -(x + gap), np.zeros(x.shape), np.zeros(n), np.arange(n) * prompts // n)


def noisy(noise: float, drift: float, n: int = 400, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return 4.0 - drift * np.arange(12) + rng.uniform(-noise, noise, (n, 12))


class TestSwitch:
    @pytest.mark.slow
    def test_yes_where_the_search_gains(self) -> None:
        # Layers calibrated token by token and independent: lower entropy *is* better prediction.
        found = verdict_of(calibrated(seed=1, prompts=160, tokens=10))
        assert found.answer is Answer.YES
        assert found.rule is not None
        assert found.headline.startswith("Yes, with")
        assert found.deciding[0].value.high < 0

    def test_it_harms_where_the_lens_is_overconfident(self) -> None:
        found = verdict_of(overconfident())
        assert found.answer is Answer.HARMS
        assert found.rule is None
        assert found.headline == "No, not with the raw lens"
        assert found.deciding[0].value.low > 0
        assert any("over-confident" in line for line in found.explanation)

    def test_the_lens_is_named(self) -> None:
        traces = named(overconfident(), "m", lens="temperature, reference, 12ab34cd")
        assert verdict_of(traces).headline == "No, not with the temperature lens"

    def test_no_evidence_where_all_layers_predict_alike(self) -> None:
        x = np.random.default_rng(0).uniform(0.5, 2.0, (200, 12))
        found = verdict_of(from_entropies(x, prompts=10))
        assert found.answer is Answer.NO_EVIDENCE
        assert found.rule is None

    @pytest.mark.slow
    def test_no_yes_at_the_price_of_accuracy(self) -> None:
        # The gain of the first test, but whatever is not the final layer names a wrong token.
        traces = calibrated(seed=1, prompts=160, tokens=10)
        top1 = np.where(np.arange(12) == 11, traces.top1, (traces.token[:, None] + 1) % 50)
        found = validate(replace(traces, top1=top1.astype(np.int32)), None, K, 0, 200)
        search = found["search"]
        assert search.comparison is Comparison.BETTER
        assert not qualifies(search)
        verdict = verdict_of(replace(traces, top1=top1.astype(np.int32)))
        assert verdict.answer is not Answer.YES

    def test_cannot_say_on_the_models_own_text(self) -> None:
        gains = calibrated(seed=1, prompts=160, tokens=10)
        found = verdict_of(with_mode(gains, "generated"))
        assert found.answer is Answer.CANNOT_SAY
        assert "reference" in found.answer_why


class TestGuarantee:
    def test_does_not_apply_without_calibration(self) -> None:
        found = verdict_of(overconfident())
        assert found.guarantee is Guarantee.REFUTED
        assert found.guarantee_why.startswith("A0")

    def test_does_not_apply_with_too_much_noise(self) -> None:
        # Calibrated to the digit, but a rise of up to two nats is no bounded noise of 0.25.
        found = verdict_of(with_entropy(noisy(1.0, 0.0), 20))
        assert found.guarantee is Guarantee.REFUTED
        assert "A0" not in found.guarantee_why.split("fail")[0]

    def test_applies_to_quiet_calibrated_tokens(self) -> None:
        traces = with_entropy(noisy(0.01, 0.1), 20)
        found = verdict_of(traces)
        assert found.guarantee is Guarantee.APPLIES
        assert covering_level(audit(traces, K, 0, 200)).bound < MATERIAL

    def test_is_too_weak_where_the_noise_is_material(self) -> None:
        traces = with_entropy(noisy(0.15, 0.0), 20)
        assert covering_level(audit(traces, K, 0, 200)).bound >= MATERIAL
        assert verdict_of(traces).guarantee is Guarantee.TOO_WEAK

    def test_is_undecided_with_few_prompts(self) -> None:
        rng = np.random.default_rng(0)
        x = noisy(0.01, 0.1, n=60)
        by_prompt = np.repeat(rng.normal(0.05, 0.2, 6), 10)[:, None]
        assert verdict_of(with_entropy(x, 6, by_prompt)).guarantee is Guarantee.UNDECIDED


def biased_where_chosen(prompts: int = 40, tokens: int = 40, paid: float = 1.0) -> Traces:
    """Every layer is calibrated on average, but not on those tokens on which the search takes it.

    The final layer reads 1 and pays 1. The one before reads 0.2 or 1.8, half each, and pays 1.8 or
    0.2 (`paid` = 1; less of it the nearer to 0); layers below fall. A0 to A4 hold.
    """
    n = prompts * tokens
    low = np.arange(n) % 2 == 0
    x = np.tile(4.0 - 0.2 * np.arange(12), (n, 1))
    x[:, -1] = 1.0
    x[:, -2] = np.where(low, 0.2, 1.8)
    gap = np.zeros_like(x)
    gap[:, -2] = paid * np.where(low, 1.6, -1.6)
    return with_entropy(x, prompts, gap)


class TestOwnGap:
    """A0 speaks of each layer on its own; the search chooses its layer by what it reads."""

    def test_the_guarantee_does_not_apply_where_the_search_loses_under_all_assumptions(
        self,
    ) -> None:
        traces = biased_where_chosen()
        audited, validated = audit(traces, K, 0, 200), validate(traces, None, K, 0, 200)
        assert audited.count(Status.FAILS) == 0
        assert covering_level(audited).bound == 0.0
        search = validated["search"].overall
        assert search.log_loss_vs_final.estimate == pytest.approx(0.4, abs=1e-6)
        assert search.optimism_vs_final.estimate == pytest.approx(0.8, abs=1e-6)
        found = judge(audited, validated, "raw")
        assert found.guarantee is Guarantee.REFUTED
        assert "+0.80" in found.guarantee_why
        assert "where it stops" in found.guarantee_why
        assert found.answer is Answer.HARMS

    def test_a_gap_that_is_not_settled_leaves_it_undecided(self) -> None:
        # Log-losses vary between prompts, so that a net gap of 0.05 lies within its interval.
        traces = biased_where_chosen(paid=1 / 16)
        noise = np.random.default_rng(0).normal(0, 0.1, 40)[traces.prompt]
        log_prob = traces.log_prob.copy()
        log_prob[::2, -2] += noise[::2]
        log_prob[1::2, -2] -= noise[1::2]
        found = verdict_of(replace(traces, log_prob=log_prob))
        assert found.guarantee is Guarantee.UNDECIDED
        assert "own gap is not settled" in found.guarantee_why

    def test_paying_less_than_promised_is_no_fault(self) -> None:
        assert verdict_of(biased_where_chosen(paid=-0.1)).guarantee is Guarantee.APPLIES

    def test_a_final_layer_that_is_off_as_much_cancels(self) -> None:
        # All layers are off by the same, within what counts as calibrated.
        traces = with_entropy(noisy(0.01, 0.1), 20, 0.04)
        assert verdict_of(traces).guarantee is Guarantee.APPLIES


class TestGivenReading:
    """C2: a layer that no rule happened to take may still owe what another rule would pay."""

    def traces(self, owed: float, prompts: int = 40) -> Traces:
        """One layer reads 0.01 less than the final one, or more, and owes `owed`, or is owed it."""
        n = 40 * prompts
        low = np.arange(n) % 2 == 0
        x = np.full((n, 12), 4.0)
        x[:, -4] += np.where(low, -0.01, 0.01)
        gap = np.zeros_like(x)
        gap[:, -4] = np.where(low, owed, -owed)
        return with_entropy(x, prompts, gap)

    def test_a_debt_that_the_search_does_not_meet_makes_the_guarantee_weak(self) -> None:
        traces = self.traces(0.5)
        audited = audit(traces, K, 0, 200)
        assert audited.count(Status.FAILS) == 0
        assert audited.given_reading.kappa.estimate == pytest.approx(0.5, abs=1e-5)
        found = verdict_of(traces)
        assert found.guarantee is Guarantee.TOO_WEAK
        assert "log-loss may exceed entropy" in found.guarantee_why

    def test_without_it_or_with_little_the_guarantee_applies(self) -> None:
        for owed in (0.0, 0.04, -0.5):
            found = verdict_of(self.traces(owed))
            assert found.guarantee is Guarantee.APPLIES
            assert "(C2)" in found.guarantee_why

    def test_too_few_prompts_leave_it_undecided(self) -> None:
        found = verdict_of(self.traces(0.0, prompts=6))
        assert found.guarantee is Guarantee.UNDECIDED
        assert "C2 is not settled" in found.guarantee_why


class TestExplanation:
    def test_a_winners_curse_is_found_where_it_is(self) -> None:
        # Each token has one layer that is sure of itself and wrong; marginally it is rare.
        rng = np.random.default_rng(5)
        n, layers = 1200, 12
        x = np.full((n, layers), 2.0) + rng.uniform(0, 0.1, (n, layers))
        loss = x.copy()
        bad = rng.integers(6, 11, n)
        falls = np.arange(layers) >= bad[:, None]
        x = np.where(falls, 0.2 + 0.3 * (np.arange(layers) - bad[:, None]), x)
        loss = np.where(np.arange(layers) == bad[:, None], 6.0, np.maximum(loss, x))
        traces = traces_from(x, -loss, np.zeros_like(x), np.zeros(n), np.arange(n) // 40)
        assert any("a winner's curse" in line for line in verdict_of(traces).explanation)

    def test_layers_that_are_off_are_no_curse(self) -> None:
        # Each layer is off by a constant, whatever its entropy.
        lines = verdict_of(overconfident()).explanation
        assert any("no winner's curse" in line for line in lines)

    def test_and_not_where_it_is_not(self) -> None:
        lines = verdict_of(calibrated(seed=1, prompts=160, tokens=10)).explanation
        assert not any("curse" in line or "over-confident" in line for line in lines)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("traces")
    gains = named(
        calibrated(seed=1, prompts=100, tokens=12), "gains/<script>alert(1)</script> & co"
    )
    gains = replace(gains, vocabulary=dict(enumerate(["$x$", "<b>", "\n", "é"])))
    harms = named(
        calibrated(seed=2, prompts=100, tokens=12, layer_shift=dict.fromkeys(range(11), 1.5)),
        "harms",
    )
    paths = []
    for name, traces in (
        ("gains", gains),
        ("harms", harms),
        ("harms-generated", with_mode(harms, "generated")),
        ("own", named(with_mode(gains, "generated"), "own text only")),
    ):
        paths.append(folder / f"{name}.parquet")
        write_traces(paths[-1], traces)
    return paths


@pytest.fixture(scope="module")
def report(files: list[Path]) -> Report:
    return compute(files, seed=1, effort=TINY, command="stopping report <x>")


@pytest.fixture(scope="module")
def page(report: Report) -> str:
    return render_page(report)


class Reader(HTMLParser):
    """Elements must nest; collects ids, addresses and the texts of `<svg>` elements."""

    VOID = frozenset({"meta", "link", "br", "hr", "img", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src", "xlink:href"):
                self.addresses.append(value or "")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    return reader


class TestPage:
    def test_elements_nest_and_ids_are_unique(self, read: Reader) -> None:
        assert read.open == []
        doubled = [name for name, times in Counter(read.ids).items() if times > 1]
        assert doubled == []

    def test_it_loads_nothing(self, page: str, read: Reader) -> None:
        assert read.addresses
        assert all(address.startswith("#") for address in read.addresses)
        assert not re.search(r"url\((?!#)", page)
        assert "@import" not in page
        assert not {"script", "link", "iframe", "img"} & set(read.tags)

    def test_every_reference_has_its_target(self, page: str, read: Reader) -> None:
        targets = {address[1:] for address in read.addresses}
        targets |= set(re.findall(r"url\(#([^)]+)\)", page))
        targets |= set(re.findall(r'aria-labelledby="([^"]+)"', page))
        assert targets <= set(read.ids)

    def test_names_from_files_are_escaped(self, page: str) -> None:
        assert "<script" not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; co" in page

    def test_figures_follow_the_page(self, page: str) -> None:
        figures = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
        # Calibration (reference only), guarantee, bands, tokens; rules and depths (reference only).
        assert len(figures) == 6 + 6 + 3
        for figure in figures:
            root = ElementTree.fromstring(figure)
            assert root.get("role") == "img"
            assert root[0].tag.endswith("title")
            assert root[0].text
            used = set(re.findall(r"#[0-9a-f]{6}\b", figure, flags=re.IGNORECASE))
            assert used <= {"#ffffff", "#000000"}, used
            assert set(re.findall(r"var\(--(\w+)\)", figure)) <= set(PALETTE)
            assert "DejaVu" in figure
            assert "<text" in figure

    def test_both_colour_schemes_are_complete(self, page: str) -> None:
        style = page[page.index("<style>") : page.index("</style>")]
        light, dark = style.split("prefers-color-scheme:dark")
        for name, colour in PALETTE.items():
            assert f"--{name}:{colour.light}" in light
            assert f"--{name}:{colour.dark}" in dark

    def test_all_text_has_contrast(self) -> None:
        # WCAG 2.1, success criterion 1.4.3: 4.5 to 1 for text, in both schemes.
        for name in set(PALETTE) - {"paper", "grid"}:
            for scheme in ("light", "dark"):
                ground = luminance(getattr(PALETTE["paper"], scheme))
                text = luminance(getattr(PALETTE[name], scheme))
                bright, dim = max(ground, text), min(ground, text)
                ratio = (bright + 0.05) / (dim + 0.05)
                assert ratio >= 4.5, (name, scheme, ratio)

    def test_the_table_stands_before_everything_else(self, report: Report, page: str) -> None:
        table = page[page.index('aria-label="Verdicts"') : page.index('class="cards"')]
        assert len(report.summary) == len(report.models) == table.count("<tr>") - 1
        for row in report.summary:
            assert row.answer.brief in table
            assert row.next_step.replace("'", "&#39;") in table
            if row.difference is not None:
                assert interval(row.difference, signed=True) in table

    def test_answers_stand_first_and_agree_with_the_results(
        self, report: Report, page: str
    ) -> None:
        head = page[: page.index('id="theorem"')]
        for model in report.models:
            assert model.verdict.headline in head
        answers = [model.verdict.answer for model in report.models]
        assert answers == [Answer.YES, Answer.HARMS, Answer.CANNOT_SAY]

    def test_no_number_is_missing_its_value(self, read: Reader) -> None:
        words = " ".join(read.words)
        assert not re.search(r"\b(nan|inf|None|Interval\()", words)

    @pytest.mark.slow
    def test_nothing_depends_on_when_it_is_drawn(self, files: list[Path]) -> None:
        first, again = (compute(files[3:], seed=1, effort=TINY) for _ in range(2))
        assert as_json(first) == as_json(again)
        assert render_page(first) == render_page(again)

    def test_provenance_is_told(self, report: Report, page: str) -> None:
        for model in report.models:
            for file in model.files:
                assert file.sha256 in page
                assert file.file in page


def luminance(colour: str) -> float:
    """Relative luminance of a colour (WCAG 2.1)."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


OLD_PAGE = "<title>Should Confident Decoding be switched on?</title>"


class TestCommand:
    @pytest.fixture(autouse=True)
    def _few_draws(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(command, "QUICK", TINY)
        monkeypatch.setattr(command, "FULL", TINY)

    @pytest.fixture
    def no_page(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What draws a page takes half of the time, where only what is printed is asked."""
        monkeypatch.setattr("empirical.report.page.render_page", lambda _: OLD_PAGE)

    def run(self, *arguments: object) -> int:
        texts = [str(argument) for argument in arguments]
        return exit_code(
            lambda: command.report.main([*texts, "--jobs", "1"], standalone_mode=False)
        )

    @pytest.mark.slow
    def test_it_writes_both_files(self, files: list[Path], tmp_path: Path) -> None:
        out = tmp_path / "new" / "folder"
        result = CliRunner().invoke(
            command.report, [*map(str, files[1:]), "--out", str(out), "--jobs", "1"]
        )
        assert result.exit_code == 0, result.output
        assert sorted(path.name for path in out.iterdir()) == ["report.html", "report.json"]
        data = json.loads((out / "report.json").read_text(), parse_constant=pytest.fail)
        assert data["models"][0]["verdict"]["answer"] == Answer.HARMS
        assert data["models"][0]["reference"]["provenance"]["model"] == "harms"
        assert data["seed"] == 0
        assert "No, not with the raw lens" in result.stdout
        assert "Cannot say" in result.stdout

    @pytest.mark.slow
    @pytest.mark.usefixtures("no_page")
    def test_json_on_standard_output_is_the_file(self, files: list[Path], tmp_path: Path) -> None:
        result = CliRunner().invoke(
            command.report,
            [str(files[1]), "--out", str(tmp_path), "--quick", "--json", "--jobs", "1"],
        )
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout) == json.loads((tmp_path / "report.json").read_text())

    @pytest.mark.slow
    def test_the_command_line_is_kept_without_folders(
        self, files: list[Path], tmp_path: Path
    ) -> None:
        assert self.run(files[1], "--out", tmp_path, "--window", 4, "--seed", 3) == 0
        data = json.loads((tmp_path / "report.json").read_text())
        assert data["command"] == "stopping report harms.parquet --window 4 --seed 3"
        assert data["models"][0]["reference"]["audit"]["K"] == 4
        assert str(tmp_path) not in (tmp_path / "report.html").read_text()

    def test_mistakes_exit_with_2(
        self, files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        blocked = tmp_path / "file"
        blocked.write_text("")
        foreign = tmp_path / "foreign"
        foreign.mkdir()
        (foreign / "report.html").write_text("my own report")
        one = tmp_path / "one.parquet"
        write_traces(one, calibrated(prompts=1, tokens=30))
        garbage = tmp_path / "garbage.parquet"
        garbage.write_text("no parquet")
        for arguments, expected in (
            ((files[1], "--out", blocked), "file/report.html: cannot write here"),
            ((files[1], "--out", blocked / "below"), "below/report.html: cannot write here"),
            ((files[1], "--out", foreign), "report.html: exists already and is no page"),
            ((files[1], "--materiality", "nan", "--out", tmp_path), "not in the range 0<=x<=1000"),
            ((one, "--out", tmp_path), "one.parquet: traces: 1 prompt"),
            ((garbage, "--out", tmp_path), "garbage.parquet"),
            ((tmp_path / "missing.parquet", "--out", tmp_path), "no such file"),
            ((files[1], files[1], "--out", tmp_path), "one of them"),
            ((files[1], "--window", 40, "--out", tmp_path), "harms.parquet: window"),
        ):
            assert self.run(*arguments) == 2
            assert expected in capsys.readouterr().err.replace("\n", " ")
        assert not (tmp_path / "report.html").exists()

    def test_an_interrupt_leaves_the_old_files(
        self, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "report.html").write_text(OLD_PAGE)

        def interrupted(*_: object) -> str:
            raise KeyboardInterrupt

        monkeypatch.setattr("empirical.report.page.render_page", interrupted)
        assert self.run(files[1], "--out", tmp_path) == 130
        assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
        assert (tmp_path / "report.html").read_text() == OLD_PAGE

    @pytest.mark.slow
    @pytest.mark.usefixtures("no_page")
    def test_the_table_is_the_last_thing_and_comes_before_what_is_slow(
        self, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COLUMNS", "120")  # the next step on one line
        arguments = [str(files[1]), "--out", str(tmp_path), "--jobs", "1"]
        shown = CliRunner().invoke(command.report, arguments)
        *_, details, table = shown.stdout.partition("\nVerdicts")
        assert details == "\nVerdicts"
        assert "Wrote" not in table
        assert "no, it harms" in table
        assert "leave it off, or calibrate the lens" in " ".join(table.split())

        def slow(*_: object) -> None:
            raise UserError("so far")

        monkeypatch.setattr("empirical.report.results.checked_claims", slow)
        early = CliRunner().invoke(command.report, arguments)
        assert isinstance(early.exception, UserError)
        assert "no, it harms" in early.stderr
        assert early.stdout == ""

    @pytest.mark.slow
    @pytest.mark.usefixtures("no_page")
    def test_check_speaks_to_scripts(self, files: list[Path], tmp_path: Path) -> None:
        for chosen, expected in ((files[:1], 0), (files[:2], 1), (files[3:], 1)):
            assert self.run(*chosen, "--out", tmp_path, "--check") == expected
        assert self.run(files[1], "--out", tmp_path) == 0

    @pytest.mark.slow
    @pytest.mark.usefixtures("no_page")
    def test_a_full_disk_does_not_swallow_the_result(
        self,
        files: list[Path],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        def full(path: Path, _: object) -> None:
            raise UserError(f"{path}: cannot write here (No space left on device)")

        monkeypatch.setattr(command, "write_atomic", full)
        assert self.run(files[1], "--out", tmp_path) == 2
        text, errors = capsys.readouterr()
        assert "No, not with the raw lens" in text
        assert text.rindex("no, it harms") > text.rindex("Verdicts")
        assert "Wrote" not in text
        assert errors.splitlines()[-1].endswith("(No space left on device)")
        assert self.run(files[1], "--out", tmp_path, "--json") == 2
        assert json.loads(capsys.readouterr().out)["summary"][0]["answer"] == Answer.HARMS

    def test_help_shows_examples(self) -> None:
        result = CliRunner().invoke(command.report, ["--help"])
        assert result.exit_code == 0
        assert "stopping report my.parquet --out my-report" in result.output


class TestTerminal:
    @pytest.mark.parametrize("width", [80, 100])
    def test_no_number_is_cut(self, report: Report, width: int) -> None:
        out = Console(width=width, file=io.StringIO(), highlight=False)
        show(report, out)
        show_summary(report.summary, out, "Verdicts")
        assert isinstance(out.file, io.StringIO)
        text = out.file.getvalue()
        assert max(map(len, text.splitlines())) <= width
        assert "…" not in text
        for model in report.models:
            for deciding in model.verdict.deciding:
                assert deciding.text in text
        for row in report.summary:
            if row.difference is not None:
                estimate, ends = interval(row.difference, signed=True).split("\u00a0[")
                assert estimate in text
                assert f"[{ends}" in text

    def test_names_are_broken_where_they_may_be(self) -> None:
        name = "qwen2.5-coder-0.5b-instruct-q4_k_m"
        assert broken(name, 18) == ["qwen2.5-coder-", "0.5b-instruct-q4_", "k_m"]
        assert broken("a" * 40, 18) == ["a" * 18, "a" * 18, "aaaa"]
        assert broken("tiny", 18) == ["tiny"]


class TestComputing:
    @pytest.mark.slow
    def test_steps_are_counted(self, files: list[Path]) -> None:
        begun: list[str] = []
        done: list[None] = []
        compute(files[1:2], effort=TINY, begin=begun.append, done=lambda: done.append(None))
        assert len(begun) == len(done) == count_steps(files[1:2], TINY)

    def test_without_traces_it_says_so(self) -> None:
        with pytest.raises(UserError, match="no traces"):
            compute([], effort=TINY)

    @pytest.mark.slow
    def test_shallow_traces_get_a_smaller_window(self, tmp_path: Path) -> None:
        path = tmp_path / "shallow.parquet"
        write_traces(path, calibrated(prompts=8, tokens=20, layers=5))
        found = compute([path], effort=TINY)
        assert found.models[0].main.audit.K == 4
        render_page(found)

    @pytest.mark.slow
    def test_tokens_that_never_leave_make_a_page(self, tmp_path: Path) -> None:
        path = tmp_path / "falling.parquet"
        write_traces(path, with_entropy(noisy(0.0, 0.1), 10))
        found = compute([path], effort=TINY)
        assert found.models[0].main.curves.perturbed is None
        words = Reader()
        words.feed(render_page(found))
        assert "nan" not in " ".join(words.words).split()

    @pytest.mark.slow
    def test_neither_torch_nor_pyplot_is_imported(self, files: list[Path]) -> None:
        code = (
            "import sys; from pathlib import Path; import empirical.commands.report as c\n"
            "assert 'matplotlib' not in sys.modules\n"
            "from empirical.report import compute; from empirical.report.page import render_page\n"
            "from empirical.report.results import Effort\n"
            f"render_page(compute([Path({str(files[1])!r})], effort=Effort(100, 0.0005)))\n"
            "assert not {'torch', 'transformers', 'matplotlib.pyplot'} & set(sys.modules)\n"
        )
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


class TestNumbers:
    def test_signs_and_gaps(self) -> None:
        assert number(-1.234) == "−1.23"
        assert number(-0.001) == "0.00"
        assert number(0.0, signed=True) == "0.00"
        assert number(1.0, signed=True) == "+1.00"
        assert number(float("nan")) == number(None) == number(float("inf")) == NONE
        assert percent(0.1234) == "12.3\u00a0%"

    def test_intervals(self) -> None:
        assert interval(Interval(-0.5, -1.0, 0.25), signed=True) == "−0.50\u00a0[−1.00,\u00a0+0.25]"
        assert interval(Interval(0.5, float("nan"), float("nan"))) == "0.50"
        assert points(Interval(-0.061, -0.07, -0.05)) == "−6.1\u00a0[−7.0,\u00a0−5.0]\u00a0points"

    @pytest.mark.parametrize(
        ("value", "text"),
        [(0.95, "95\u00a0%"), (0.999, "99.9\u00a0%"), (1 - 0.05 / 18, "99.72\u00a0%")],
    )
    def test_levels_are_told_from_certainty(self, value: float, text: str) -> None:
        assert level(value) == text

    def test_sentences(self) -> None:
        assert sentence("at -0.5 nats, 5% of V-1") == "At −0.5 nats, 5\u00a0% of V-1."

    def test_token_texts_are_printable_ascii_and_short(self) -> None:
        assert visible(" the\n") == "␣the\\n"
        assert visible("é") == "\\xe9"
        assert len(visible("x" * 99)) == 14


def test_a_figure_is_the_same_text_twice() -> None:
    def drawn() -> str:
        with settings():
            figure = blank()
            figure.add_subplot().plot([0, 1], label="a < b & $c")
            return inline_svg(figure, "name", "a < b")

    first = drawn()
    assert first == drawn()
    assert "a &lt; b" in first
    assert "<metadata" not in first
    assert all(name.startswith("name-") for name in re.findall(r'id="([^"]+)"', first))


def test_rounding_errors_are_written_as_powers_of_ten() -> None:
    from empirical.numbers import general

    assert [general(value) for value in (1e-9, -3e-7, 2.0, 0.1558, 0.0)] == [
        "1 × 10⁻⁹",
        "−3 × 10⁻⁷",
        "2",
        "0.1558",
        "0",
    ]
