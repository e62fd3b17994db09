"""The page of a report in a browser: what a reader sees, does with keys and pointer, and what may not
happen.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.clips import noise_frames, write_clip
from tests.helpers.report_runs import NASTY, fitted_run, names, recorded_run, scores_in
from vqafeat.report import Report, build_report, write_report
from vqafeat.report.build import NO_STORE, NOT_TESTED
from vqafeat.report.content import ReportCell, ReportTable

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if BROWSER is None:
    pytest.skip("no chromium, chromium-browser or google-chrome on the path", allow_module_level=True)
playwright_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

Page = Any
SHOWN = "#videos-table tbody tr"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright_api.sync_playwright() as driver:
        # containers have no room for the browser's own sandbox and little shared memory
        opened = driver.chromium.launch(
            executable_path=BROWSER, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def fitted_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    run, store = fitted_run(folder)
    other, _ = fitted_run(folder / "again", "longer", epochs=4)
    for number, name in enumerate(names()):
        if "/script" in name:  # its file cannot be: the name holds a folder's separator
            continue
        (folder / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
        clip = folder / "videos" / name
        write_clip(clip, noise_frames(50, seed=number), codec="libx264", options={"crf": "40"})
    return write_report(
        build_report([run, other], folder, store=store, videos=folder / "videos"), folder / "report.html"
    )


@pytest.fixture(scope="module")
def recorded_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    runs = [
        recorded_run(folder / "one", videos=200, splits=10),
        recorded_run(folder / "two", datasets=("konvid", "cvd2014")),
        recorded_run(folder / "few", mapping="logistic-increasing"),
    ]
    return write_report(build_report(runs, folder), folder / "report.html")


@pytest.fixture(scope="module")
def large_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("large")
    runs = [recorded_run(folder / "large", videos=1200, splits=10), recorded_run(folder / "two")]
    return write_report(build_report(runs, folder), folder / "report.html")


@pytest.fixture
def opened(browser: Any) -> Iterator[Callable[..., Page]]:
    """Return an opener of pages; at the end none may have logged an error, requested more than its videos, or
    shown a dialogue.
    """
    messages: list[str] = []
    contexts = []

    def open_page(path: Path, shown: str = SHOWN, **context: Any) -> Page:
        contexts.append(browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context}))
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda message: messages.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: messages.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (messages.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        own = (path.as_uri(), (path.parent / "videos").as_uri(), "blob:")
        page.on(
            "request",
            lambda request: (
                None if request.url.startswith(own) else messages.append(f"request: {request.url}")
            ),
        )
        page.goto(path.as_uri())
        page.wait_for_selector(shown)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not messages


def until(page: Page, condition: str) -> None:
    """Wait for a condition; the driver's own waiting needs `eval`, which the page's policy forbids."""
    deadline = time.monotonic() + 20
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(20)


def column(page: Page, number: int, table: str = "#videos-table") -> list[str]:
    actual: list[str] = page.locator(f"{table} tbody tr td:nth-child({number})").all_text_contents()
    return actual


def numbers(texts: list[str]) -> list[float]:
    return [float(text.replace("−", "-").replace("+", "")) for text in texts]


def test_page__largest_errors_come_first_and_columns_sort(
    opened: Callable[..., Page], large_page: Path
) -> None:
    page = opened(large_page)
    assert len(column(page, 1)) > 1000
    sizes = numbers(column(page, 7))
    assert sizes == sorted(sizes, reverse=True)
    page.get_by_role("button", name="Label", exact=True).click()
    labels = numbers(column(page, 4))
    assert labels == sorted(labels, reverse=True)
    assert page.locator("#videos-table th[aria-sort=descending]").inner_text().endswith("Label")
    page.get_by_role("button", name="Video", exact=True).click()
    shown = column(page, 1)
    assert shown == sorted(shown)
    heading = page.locator("#metrics-table th button", has_text="SROCC")
    heading.click()
    first = numbers([text.split()[0] for text in column(page, 4, "#metrics-table")])
    assert first == sorted(first, reverse=True)


@pytest.mark.parametrize(
    ("run", "part", "split"),
    [("one", "test", "-1"), ("one", "all", "-1"), ("one", "train", "4"), ("two", "test", "0")],
)
def test_page__error_is_score_minus_label_everywhere(
    opened: Callable[..., Page], recorded_page: Path, run: str, part: str, split: str
) -> None:
    page = opened(recorded_page)
    for name, label in (("run", run), ("part", part)):
        page.select_option(f"#{name}", label=label)
    page.select_option("#split", split)
    label, score, error, size = (column(page, number) for number in (4, 5, 6, 7))
    assert len(label) > 5
    for one in zip(numbers(label), numbers(score), numbers(error), numbers(size), strict=True):
        assert (f"{one[1] - one[0]:+.3f}", f"{abs(one[2]):.3f}") == (f"{one[2]:+.3f}", f"{one[3]:.3f}")
    facts = dict(
        zip(
            page.locator("#chosen-facts dt").all_text_contents(),
            page.locator("#chosen-facts dd").all_text_contents(),
            strict=True,
        )
    )
    if "score in testing" in facts:
        tested, wrong = (
            numbers([facts[f"{name} in testing"].split(",")[0].split(" ")[0]])[0]
            for name in ("score", "error")
        )
        assert f"{tested - numbers([facts['label']])[0]:+.3f}" == f"{wrong:+.3f}"
    for own, wrong in zip(
        numbers(column(page, 4, "#chosen-table")), numbers(column(page, 5, "#chosen-table")), strict=True
    ):
        assert f"{own - numbers([facts['label']])[0]:+.3f}" == f"{wrong:+.3f}"
    page.focus("#scatter")
    for _ in range(5):
        page.keyboard.press("ArrowRight")
        words = page.locator("#scatter-said").inner_text().replace("\n", " ")
        own, label_, wrong = (
            numbers([words.split(f"{name} ")[-1].split()[0].rstrip(",")])[0]
            for name in ("score", "label", "error")
        )
        assert f"{own - label_:+.3f}" == f"{wrong:+.3f}"


def test_page__the_selected_video_shows_the_output_of_the_head(
    opened: Callable[..., Page], recorded_page: Path
) -> None:
    page = opened(recorded_page)
    page.fill("#text", "v0005")
    titles = [title.strip("▲▼") for title in page.locator("#chosen-table th").all_inner_texts()]
    assert titles == ["Split", "Part", "Own output", "Score", "Error"]
    rows = [row for row in scores_in(recorded_page.parent / "one") if row["video"] == "v0005.mp4"]
    assert sorted(numbers(column(page, 3, "#chosen-table"))) == sorted(
        round(float(row["prediction"]), 3) for row in rows
    )
    assert sorted(numbers(column(page, 4, "#chosen-table"))) == sorted(
        round(float(row["score"]), 3) for row in rows
    )


def test_page__scatter_has_the_line_of_equal_score_and_label(
    opened: Callable[..., Page], recorded_page: Path
) -> None:
    page = opened(recorded_page)
    assert page.locator("#scores-title").inner_text() == "Calibrated score against label"
    marks = ["test", "score = label", "fitted logistic", "chosen video"]
    assert page.locator("#legend").inner_text().split("\n") == marks
    caption = page.locator("#scatter-caption").inner_text()
    assert (
        "a straight line that was fitted to the validation part of its split. An error is score minus label."
        in caption
    )
    assert "The logistic is fitted to the scores of the test parts of all splits together." in caption
    assert "calibrated score" in page.locator("#scatter text").all_text_contents()
    dashes = page.evaluate(
        "[...document.querySelectorAll('#scatter .line')].filter((line) => !line.closest('[hidden]'))"
        ".map((line) => getComputedStyle(line).strokeDasharray)"
    )
    assert [dash != "none" for dash in dashes] == [True, False, True, False], (
        "the rims are below both lines, and that of the dashed line is dashed"
    )
    page.select_option("#run", label="few")
    page.select_option("#split", "1")
    assert page.locator("#legend").inner_text().split("\n") == ["test", "score = label", "chosen video"]
    caption = page.locator("#scatter-caption").inner_text()
    assert "No logistic is fitted to the test part of split 1: " in caption
    assert "videos are too few for the mapping 'logistic-increasing'" in caption


def test_page__plain_and_calibrated_measures_are_next_to_the_mapped_ones(
    opened: Callable[..., Page], recorded_page: Path
) -> None:
    page = opened(recorded_page)
    titles = ["SROCC", "KROCC", "PLCC", "PLCC plain", "RMSE", "RMSE plain", "RMSE calibrated"]
    heads = page.locator("#metrics-table th")
    assert heads.all_inner_texts() == ["Run", "Data set", "Videos", *titles]
    helps = {title: heads.nth(index).get_attribute("title") for index, title in enumerate(titles, 3)}
    assert "own output with the labels, without a mapping" in helps["PLCC plain"]
    assert "of the calibrated scores" in helps["RMSE calibrated"]
    page.evaluate("document.querySelector('#metrics details').open = true")
    kept = json.loads((recorded_page.parent / "few" / "metrics.json").read_text())
    few = page.locator("#metrics-table tbody tr", has_text="few").first.locator("td").all_inner_texts()
    places = {
        name: index
        for index, name in enumerate(
            ("srocc", "krocc", "plcc", "plcc_plain", "rmse", "rmse_plain", "rmse_calibrated"), 3
        )
    }
    for name, index in places.items():
        assert few[index].split("\n") == [
            f"{kept[name]['mean']:.3f} ± {kept[name]['std']:.3f} *", f"median {kept[name]['median']:.3f} *"
        ], name  # fmt: skip
    split = page.locator("#splits-table tbody tr", has_text="few").nth(1).locator("td").all_inner_texts()
    assert split[4:] == [f"{kept[name]['values'][1]:.3f} *" for name in places]
    assert not any(
        "*" in text for text in page.locator("#metrics-table tbody tr").first.locator("td").all_inner_texts()
    )
    notes = page.locator("#metrics-notes li").all_inner_texts()
    assert any(
        note.startswith("* two, few: measured on only ") and "one video moves a figure visibly" in note
        for note in notes
    )
    assert (
        "few: PLCC and RMSE are computed after the mapping 'logistic-increasing', which is fitted to each "
        "test part" in notes
    )


def test_page__opens_with_a_comparison(opened: Callable[..., Page], tmp_path: Path) -> None:
    noises = {"far": 2.0, "near": 0.4}
    runs = [recorded_run(tmp_path / name, noise=noise, splits=8) for name, noise in noises.items()]
    runs.append(recorded_run(tmp_path / "apart", datasets=("konvid",)))
    page = opened(write_report(build_report(runs, tmp_path), tmp_path / "page.html"))
    section = page.locator("main section:visible").first
    assert section.locator("h2").inner_text() == "Comparison"
    words = section.inner_text()
    assert "near has the highest mean SROCC, 0." in words
    assert "It differs significantly from far (p " in words
    assert "Not compared, since no other run was tested on the same videos: apart." in words
    assert column(page, 1, "#comparison .scroll:not(details *)") == ["near", "far"]
    assert page.locator("#comparison tr.best td").all_inner_texts()[3:] == ["best", "–", "–", "–"]
    assert page.locator("#comparison svg").count() == 2
    assert page.locator("#comparison svg .best text").all_text_contents() == ["near (best)"] * 2
    assert page.locator("#metrics-table td.best").count() == 7, "the best run's measures"
    page.get_by_role("button", name="p, Holm").click()
    page.locator("#comparison td button", has_text="near").click()
    assert page.locator("#training-run").inner_text() == "of near"


def test_page__has_no_dash_for_what_one_split_lacks(opened: Callable[..., Page], tmp_path: Path) -> None:
    folders = [recorded_run(tmp_path / name, videos=2, splits=1) for name in "ab"]
    page = opened(write_report(build_report(folders, tmp_path), tmp_path / "page.html"))
    assert "±" not in page.locator("#metrics-table tbody").inner_text()
    assert column(page, 5, "#comparison .scroll:not(details *)")[1] != "– to –"
    page.locator("#text").fill("v0001")
    assert page.locator("#count").inner_text() == "1 video, 1 score"


def test_page__one_run_has_no_comparison(opened: Callable[..., Page], tmp_path: Path) -> None:
    folder = recorded_run(tmp_path / "a")
    page = opened(write_report(build_report([folder], tmp_path), tmp_path / "page.html"))
    assert page.locator("h1").inner_text() == "How well does no-time on tiny predict the MOS of tiny?"
    assert page.locator("#comparison, td.best").count() == 0


def test_page__folds_provenance_and_meanings(opened: Callable[..., Page], recorded_page: Path) -> None:
    page = opened(recorded_page)
    assert not page.locator("#provenance").is_visible()
    page.locator("nav a", has_text="Provenance").click()
    until(page, "document.querySelector('#provenance').checkVisibility()")
    assert "digest of the configuration" in page.locator("#provenance").inner_text()
    page.get_by_text("What the metrics mean").click()
    terms = page.locator("#meanings dt").all_inner_texts()
    assert terms[:7] == page.locator("#metrics-table th").all_inner_texts()[3:]
    assert "Spearman’s rank correlation" in page.locator("#meanings dd").first.inner_text()
    page.locator("summary", has_text="What differs between the runs").click()
    assert "Run: mapping before PLCC and RMSE" in page.locator("#comparison").inner_text()


def test_page__sorting_and_filtering_many_videos_is_quick(
    opened: Callable[..., Page], large_page: Path
) -> None:
    page = opened(large_page)
    page.select_option("#part", label="all")
    assert page.locator("#count").inner_text() == "1200 videos, 12000 scores"
    start = "() => { const start = performance.now(); "
    sort = start + "document.querySelectorAll('#videos-table th button')[3].click();"
    search = start + "const box = document.getElementById('text'); box.value = 'v01';"
    search += " box.dispatchEvent(new Event('input', {bubbles: true}));"
    laid_out = " document.body.offsetHeight; return performance.now() - start; }"
    times = {
        name: min(page.evaluate(work + laid_out) for _ in range(3))
        for name, work in (("sort", sort), ("search", search))
    }
    assert max(times.values()) < 1500, f"milliseconds: {times}"
    assert page.locator("#count").inner_text() == "100 videos, 1000 scores"


def test_page__filters_narrow_scatter_and_table(opened: Callable[..., Page], recorded_page: Path) -> None:
    page = opened(recorded_page)
    page.fill("#text", "v0003")
    assert column(page, 1) == ["v0003.mp4"]
    page.fill("#text", "")
    page.fill("#content", "scene 1")
    assert all(text.startswith("scene 1") for text in column(page, 2))
    page.get_by_role("button", name="Reset").click()
    until(page, "document.querySelectorAll('#videos-table tbody tr').length > 150")
    page.select_option("#split", "4")
    assert "split 4" in page.locator("#scatter-caption").inner_text()
    page.select_option("#part", label="train")
    assert set(column(page, 3)) == {"train"}
    assert page.locator("#legend").inner_text().split("\n")[0] == "train"
    page.select_option("#run", label="two")
    page.select_option("#dataset", "cvd2014")
    assert max(numbers(column(page, 4))) > 50
    page.fill("#text", "nothing of the kind")
    assert column(page, 1) == []
    assert "the filters leave no video" in page.locator("#chosen-title").inner_text()


def point_of(page: Page, video: str) -> tuple[float, float]:
    """Walk the points by key to a video's, and return the middle of the tip's point, found by its
    neighbourhood.
    """
    page.fill("#text", video)
    page.focus("#scatter")
    page.keyboard.press("Home")
    box = page.locator("#scatter").bounding_box()
    tip = page.locator("#tip").bounding_box()
    return box["x"] + (tip["x"] - box["x"] - 14), tip["y"] + tip["height"] / 2


def test_page__pointing_shows_and_clicking_opens(opened: Callable[..., Page], recorded_page: Path) -> None:
    page = opened(recorded_page)
    page.evaluate("document.getElementById('scores').scrollIntoView()")
    x, y = point_of(page, "v0005")
    page.mouse.move(0, 0)
    page.locator("#text").focus()
    assert page.locator("#tip").is_hidden()
    page.mouse.move(x, y)
    reported = page.locator("#tip").inner_text()
    assert "v0005.mp4" in reported
    assert "test part of split" in reported
    assert "label" in reported
    page.mouse.click(x, y)
    assert page.locator("#chosen-title").inner_text() == "v0005.mp4"
    assert page.locator("#chosen-table tbody tr").count() == 10


def test_page__a_video_plays_and_its_curve_follows_and_seeks(
    opened: Callable[..., Page], fitted_page: Path
) -> None:
    page = opened(fitted_page)
    page.get_by_role("button", name="night/clip 3.mp4").click()
    until(page, "document.getElementById('player').currentTime > 0.05")
    page.evaluate("document.getElementById('player').pause()")
    curve = page.get_by_role("slider", name="Time in the video, along the frames’ scores")
    low, high = (float(curve.get_attribute(name)) for name in ("min", "max"))
    box = curve.bounding_box()
    curve.click(position={"x": box["width"] * 0.99, "y": box["height"] / 2})
    until(page, f"Math.abs(document.getElementById('player').currentTime - {high}) < 0.05")
    curve.focus()
    page.keyboard.press("Home")
    until(page, f"document.getElementById('player').currentTime === {low}")
    until(page, "document.getElementById('seek').ariaValueText.startsWith('0.00 seconds, score')")
    assert "score of longer" in page.locator("#chosen-facts").inner_text()


def test_page__says_why_a_video_has_no_curve(
    opened: Callable[..., Page], fitted_page: Path, recorded_page: Path
) -> None:
    page = opened(fitted_page)
    page.get_by_role("button", name="night/clip 3.mp4").click()
    assert page.locator("#frames svg:visible").count() == 1
    assert page.locator("#frames-help").inner_text().startswith("Solid: calibrated scores of the frames")
    page.select_option("#part", label="all")
    page.get_by_role("button", name="night/clip 5.mp4").click()
    assert page.locator("#frames svg:visible").count() == 0
    assert page.locator("#frames-title").inner_text() == "Score of each frame"
    assert page.locator("#frames-help").inner_text() == NOT_TESTED
    page = opened(recorded_page)
    assert page.locator("#frames-help").inner_text() == NO_STORE
    page.fill("#text", "nothing of the kind")
    assert page.locator("#frames-box").is_hidden()


def test_page__an_unpleasant_name_is_only_text(opened: Callable[..., Page], fitted_page: Path) -> None:
    page = opened(fitted_page)
    button = page.get_by_role("button", name=NASTY)
    button.click()
    assert page.locator("#chosen-title").inner_text() == NASTY
    assert page.locator("img").count() == 0
    until(page, "document.getElementById('player').readyState > 0")
    assert len(column(page, 1)) == 8
    assert not {"+0.000", "−0.000"} & set(column(page, 6)), "nothing has no sign"


def test_page__keys_reach_everything(opened: Callable[..., Page], fitted_page: Path) -> None:
    page = opened(fitted_page)
    assert page.locator(f"{SHOWN} button[tabindex='0']").count() == 1, (
        "the table is one stop, its rows are walked with arrows"
    )
    page.locator(f"{SHOWN} button[tabindex='0']").focus()
    page.keyboard.press("ArrowDown")
    second = column(page, 1)[1]
    assert page.evaluate("document.activeElement.textContent") == second
    page.keyboard.press("Enter")
    assert page.locator("#chosen-title").text_content() == second
    page.focus("#scatter")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    messages = page.locator("#scatter-said").inner_text()
    assert "test part of split" in messages
    page.keyboard.press("Enter")
    assert messages.startswith(str(page.locator("#chosen-title").text_content()))
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_page__has_light_dark_and_little_motion(opened: Callable[..., Page], fitted_page: Path) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    page = opened(fitted_page, color_scheme="dark", reduced_motion="reduce")
    assert page.evaluate(ground) == "rgb(20, 23, 28)"
    theme = page.locator("#theme")
    theme.click()
    assert (theme.inner_text(), page.evaluate(ground)) == ("Theme: light", "rgb(255, 255, 255)")
    theme.click()
    assert (theme.inner_text(), page.evaluate(ground)) == ("Theme: dark", "rgb(20, 23, 28)")
    page.get_by_role("button", name="night/clip 3.mp4").click()
    until(page, "document.getElementById('player').readyState > 0")
    assert page.evaluate("document.getElementById('player').paused"), (
        "nothing moves by itself where that is not wanted"
    )
    assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"


def test_page__a_narrow_window_does_not_scroll_sideways(
    opened: Callable[..., Page], fitted_page: Path
) -> None:
    page = opened(fitted_page, viewport={"width": 380, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("width", [380, 1280])
def test_page__long_names_of_runs_stay_in_their_place(
    opened: Callable[..., Page], tmp_path: Path, width: int
) -> None:
    long = (f"{'x' * 100}-plcc", f"{'x' * 100}-l1", "words of a long name " * 8)
    runs = [recorded_run(tmp_path / name, noise=0.4 + number) for number, name in enumerate(long)]
    page = opened(
        write_report(build_report(runs, tmp_path), tmp_path / "page.html"),
        viewport={"width": width, "height": 800},
    )
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    names = page.locator("#comparison svg g text")
    assert len(set(names.all_text_contents()[:3])) == 3, "names that differ at their end"
    right = "(node) => node.getBoundingClientRect().right"
    charts = [chart.evaluate(right) for chart in page.locator("#comparison svg").all() for _ in long]
    assert all(name.evaluate(right) <= end for name, end in zip(names.all(), charts, strict=True))
    value = page.locator("#chosen-facts dd").first
    assert value.bounding_box()["width"] > 100


def test_page__many_runs_are_compared_in_one_sentence(opened: Callable[..., Page], tmp_path: Path) -> None:
    runs = [recorded_run(tmp_path / f"r{number}", noise=0.4 + number, splits=8) for number in range(10)]
    report = build_report(runs, tmp_path)
    words = opened(write_report(report, tmp_path / "page.html")).locator("#comparison p").first.inner_text()
    pairs = list(filter(None, report.comparisons[0].pairs.values()))
    assert f"from {sum(pair.p_holm < 0.05 for pair in pairs)} of 9 other runs" in words
    assert "differ significantly" not in words


def test_page__a_table_sorts_and_leads_to_its_runs(opened: Callable[..., Page], tmp_path: Path) -> None:
    runs = tuple(recorded_run(tmp_path / name) for name in ("first", "second"))
    rows = tuple((name, (ReportCell(text, value, run),)) for name, text, value, run in (
        ("a", "0.7 (0.6, +0.1)", 0.7, (1,)), (NASTY, "0.9 †", 0.9, ()),
        ("c", "–", None, ()), ("d", "0.8", 0.8, (0,)),
    ))  # fmt: skip
    table = ReportTable("own", "Table 1 of ours: <i>heads</i>", ("A <b>note</b>.",), ("SROCC",), rows)
    report = build_report(runs, tmp_path)
    page = opened(write_report(replace(report, tables=(table,)), tmp_path / "page.html"))
    assert page.locator("#tables h2").inner_text() == "Table 1 of ours: <i>heads</i>"
    assert page.locator("#tables li").inner_text() == "A <b>note</b>."
    assert column(page, 1, "#tables table") == ["a", NASTY, "c", "d"]
    page.get_by_role("button", name="SROCC").first.click()
    assert column(page, 2, "#tables table") == ["0.9 †", "0.8", "0.7 (0.6, +0.1)", "–"]
    assert page.locator("#training-run").inner_text() == "of first"
    page.locator("#tables td button", has_text="0.7").click()
    assert page.locator("#training-run").inner_text() == "of second"


def test_page__shows_a_table_without_runs(opened: Callable[..., Page], tmp_path: Path) -> None:
    table = ReportTable("own", "Quoted", (), ("SROCC",), (("a", (ReportCell("0.9 †", 0.9),)),))
    page = opened(write_report(Report("only a table", (), (table,)), tmp_path / "page.html"), "#tables table")
    assert page.locator("h1").inner_text() == "only a table"
    assert not page.locator("#videos").is_visible()
    assert page.locator("#tables").is_visible()
