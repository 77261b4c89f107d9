"""The report: one file, complete in itself, that a real browser shows, plays and lets its reader move."""

import base64
import io
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from tests.support.examples import bursts, random_model
from tests.support.paths import ROOT
from training.measuring.confidence_intervals import Rate
from training.measuring.evaluation import evaluate
from training.measuring.score_recordings import Recording, sample_of
from training.report.charts import clip_chart, latency_chart, noise_chart, rate_axis
from training.report.embedded_media import spectrogram_db
from training.report.html_report import html
from training.report.worst_clips import peaks

pytestmark = pytest.mark.integration

RATE = 44_100
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def evaluations():
    rng = np.random.default_rng(0)
    words = [Recording(rng.integers(-9000, 9000, RATE // 2).astype(np.int16), "own", f"own/{n}.wav") for n in range(3)]
    others = [Recording(bursts(4, seed), f"<b>folder {seed % 2}", f"<b>folder/{seed}.wav") for seed in range(4)]
    models = {"first": random_model(threshold=0.4), "second <i>": random_model(seed=1)}
    return evaluate(models, {"own": words}, {"speech": others}, (None, 10.0))


@pytest.fixture(scope="module")
def pages(evaluations):
    return {"one": html(evaluations[:1], "dev"), "two": html(evaluations, "all")}


class Tags(HTMLParser):
    """Every tag with its attributes; complains about what is left open."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(page)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in {"meta", "br", "input"}:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


@pytest.mark.parametrize("name", ["one", "two"])
def test_the_page_is_whole_and_refers_to_nothing_outside_itself(pages, name) -> None:
    tags = Tags(pages[name]).seen
    assert "link" not in {tag for tag, _ in tags}
    for _, attributes in tags:
        for key in ("src", "href"):
            assert re.match("data:|#", attributes.get(key) or "data:")
    assert "url(" not in pages[name]
    kinds = [tag for tag, _ in tags]
    assert kinds.count("image") == kinds.count("audio") >= 6
    assert len(pages[name]) < 5_000_000


@pytest.mark.parametrize("name", ["one", "two"])
def test_what_is_referred_to_is_there_once(pages, name) -> None:
    """Each chart is drawn by itself, and all of them stand in one page."""
    tags = Tags(pages[name]).seen
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    used = {attributes["href"][1:] for tag, attributes in tags if tag == "use"}
    assert used
    assert used < set(ids)
    assert {"mark-0", "mark-1"} < set(ids)


def test_each_chart_says_what_it_shows_and_has_the_colours_of_the_page(pages) -> None:
    charts = [attributes for tag, attributes in Tags(pages["two"]).seen if tag == "svg"]
    assert {(chart["role"], bool(chart["aria-label"])) for chart in charts} == {("img", True)}
    style = pages["two"].partition("</style>")[0]
    drawn = "".join(re.findall("<svg.*?</svg>", pages["two"], re.DOTALL))
    named = set(re.findall(r"var\((--\w+)\)", drawn))
    assert {"--c0", "--c1", "--ink", "--soft", "--rule", "--card", "--bad"} <= named
    for variable in named:
        assert style.count(f"{variable}: #") == 2  # by day and by night
    assert not re.search(r"(?:fill|stroke): (?!none|var)", drawn)


def test_names_from_outside_are_text(evaluations) -> None:
    """Of models, words, folders, files and streams, in the page, in its charts and in its data."""
    hostile = "<img src=x onerror=alert(1)>\"' $\\frac$ {{ 7 * 7 }} </script></svg>&amp;"
    first = evaluations[0]
    recordings = [
        replace(each, source=f"{hostile}{n}", path=hostile) for n, each in enumerate(first.streams[0].recordings)
    ]
    trials = [replace(each, recording=replace(each.recording, source=hostile, path=hostile)) for each in first.trials]
    stream = replace(first.streams[0], name=hostile, recordings=recordings)
    model = replace(first.model, word=hostile)
    page = html([replace(first, name=hostile, model=model, trials=trials, streams=[stream])] * 2, hostile)
    tags = Tags(page).seen
    assert "img" not in {tag for tag, _ in tags}
    assert not any(name.startswith("on") for _, attributes in tags for name in attributes)
    assert [tag for tag, _ in tags].count("script") == 2
    assert "7 * 7" in page
    assert page.count("$\\frac$") > 10
    json.loads(data_of(page))


def test_the_same_evaluation_makes_the_same_file_whatever_the_user_likes_of_matplotlib(tmp_path) -> None:
    program = (
        "from training.measuring.confidence_intervals import Rate\n"
        "from training.report.charts import latency_chart, noise_chart\n"
        "print(latency_chart([[0.1, 0.2], []]), noise_chart(['quiet'], [[Rate(1, 3)]]))"
    )
    (tmp_path / "matplotlibrc").write_text("xtick.major.pad: 30\naxes.labelsize: 30\n")
    chosen = [{"MATPLOTLIBRC": str(tmp_path / "matplotlibrc")}, {"SOURCE_DATE_EPOCH": "1", "PYTHONHASHSEED": "7"}]
    drawn = [
        subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, env=os.environ | each, capture_output=True, text=True, check=True
        ).stdout
        for each in chosen
    ]
    assert drawn[0] == drawn[1] == f"{latency_chart([[0.1, 0.2], []])} {noise_chart(['quiet'], [[Rate(1, 3)]])}\n"


def test_the_figures_are_those_of_the_evaluation(pages, evaluations) -> None:
    point = evaluations[0].at(0.4)
    rate = point.false_accepts["speech"]
    assert f"<b>{rate.value:.2f}</b>false accepts an hour, speech" in pages["one"]
    assert f"<b>{100 - 100 * point.recall['own, quiet'].value:.1f} %</b>missed in a quiet room" in pages["one"]


def test_words_alone_or_other_sound_alone_make_a_report_too(evaluations) -> None:
    for part in (replace(evaluations[0], trials=[]), replace(evaluations[0], streams=[])):
        page = html([part], "all")
        assert Tags(page).seen
        assert "What fewer false accepts cost" not in page
        assert ("missed in a quiet room" in page) == bool(part.trials)
        assert ("false accepts an hour, speech" in page) == bool(part.streams)


def test_the_highest_peaks_are_a_second_apart_and_the_false_accepts_among_them(evaluations) -> None:
    stream = evaluations[0].streams[0]
    found = peaks(stream, 5)
    assert [value for value, _ in found] == sorted((value for value, _ in found), reverse=True)
    samples = sorted(sample for _, sample in found)
    assert min(np.diff(samples)) >= 0.99 * RATE
    value, sample = found[0]
    assert value == stream.smoothed.max()
    assert sample == sample_of(int(np.argmax(stream.smoothed)))


def test_a_picture_shows_what_is_heard_where_and_how_high_it_is() -> None:
    """A tone of 2 kHz in the second half of a second."""
    pillow = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    time = np.arange(RATE) / RATE
    samples = (9000 * np.sin(2 * np.pi * 2000 * time) * (time > 0.5)).astype(np.int16)
    svg = clip_chart(spectrogram_db(samples), 1.0, [(0.0, 0.1), (1.0, 0.9)], 0.5, None)
    content = re.search(r'href="data:image/png;base64,\s*([^"]+)"', svg)
    assert content
    image = np.asarray(pillow.open(io.BytesIO(base64.b64decode(content[1]))).convert("L"), float)
    transform = re.search(r'<image[^>]*transform="matrix\(([^)]+)\)"', svg)
    assert transform
    upright = float(transform[1].split()[3]) > 0
    row, column = np.unravel_index(np.argmax(image), image.shape)
    assert column > image.shape[1] / 2
    height = (image.shape[0] - row) if upright else row
    assert height / image.shape[0] == pytest.approx(2 / 8, abs=0.05)
    assert image[:, : image.shape[1] // 3].max() < image.max() / 4


def test_a_clip_of_nothing_can_be_drawn() -> None:
    assert "<image" not in clip_chart(spectrogram_db(np.zeros(100, np.int16)), 0.1, [], 0.5, (0.0, 0.05))


def test_the_axis_of_false_accepts_covers_its_values_with_a_tick_at_each_decade() -> None:
    low, high, ticks = rate_axis(hours=2.0, highest=50)
    assert list(ticks.values()) == ["0", "1", "10"]
    assert low == min(ticks) < 0.5  # one event in two hours
    assert high > 50
    assert rate_axis(hours=1000.0, highest=0)[1] > 1 / 1000  # one event is seen, even if none was


def test_an_interval_that_ends_at_its_own_rate_can_be_drawn() -> None:
    """Rounding must not put the end of an interval beyond the rate: 0 and all of many are such."""
    for total in (1, 3, 7, 50, 999):
        assert noise_chart(["quiet", "10 dB"], [[Rate(0, total), Rate(total, total)]])


def browse(page: str, folder, *options: str) -> tuple[str, str]:
    """A page in a real browser, which can reach nobody -> its DOM once scripts ran, and the console."""
    (folder / "report.html").write_text(page, encoding="utf-8")
    command = [
        *(BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *("--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", f"--user-data-dir={folder / 'profile'}"),
        *("--virtual-time-budget=8000", *options, "--dump-dom", (folder / "report.html").as_uri()),
    ]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return result.stdout, "\n".join(line for line in result.stderr.splitlines() if "CONSOLE" in line)


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
@pytest.mark.parametrize("name", ["one", "two"])
def test_a_browser_shows_it_without_an_error_or_a_request(pages, evaluations, tmp_path, name) -> None:
    """Moves the slider, loads the first sound, and looks for what is wider than a phone."""
    probe = """<script>
      const moved = document.getElementById("slider");
      moved.value = 250;
      moved.dispatchEvent(new Event("input"));
      const played = new Audio(document.querySelector("audio").src);
      played.addEventListener("loadedmetadata", () => { document.body.dataset.seconds = played.duration; });
      const shown = document.querySelector("svg image").getAttribute("href").replace(/\\s/g, "");
      const drawn = new Image();
      drawn.onload = () => { document.body.dataset.picture = drawn.naturalWidth; };
      drawn.src = shown;
      document.body.dataset.overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth;
    </script></body>"""
    page = pages[name].replace("</body>", probe)
    dom, console = browse(page, tmp_path, "--window-size=500,900")
    assert not console  # neither an error of the script nor a request that the page's policy refused
    assert '<output id="threshold">0.250</output>' in dom
    body = re.search(r"<body[^>]*>", dom)
    assert body
    assert 1 < float(re.search(r'data-seconds="([^"]*)"', body[0])[1]) < 6
    assert int(re.search(r'data-picture="(\d+)"', body[0])[1]) > 100
    assert 'data-overflow="0"' in body[0]
    nearest = min(evaluations[0].curve, key=lambda point: abs(point.threshold - 0.25))
    cell = re.search(r'<td data-model="0" data-kind="fired" data-row="0">([\d.]+) ', dom)
    point = min(json.loads(data_of(pages[name]))[0], key=lambda point: abs(point["t"] - 0.25))
    number, x, y = point["marks"][0]
    use = re.search(rf'<g id="mark-{number}">.*?<use ([^>]*)>', dom, re.DOTALL)
    assert use
    assert f'x="{x:g}"' in use[1]
    assert f'y="{y:g}"' in use[1]
    assert use[1] not in page
    assert cell
    assert cell[1] == f"{nearest.false_accepts['speech'].value:.2f}"


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_the_page_may_not_ask_for_anything(pages, tmp_path) -> None:
    page = pages["one"].replace("</main>", '<img src="http://127.0.0.1:9/x.png"></main>')
    _, console = browse(page, tmp_path)
    assert "Content Security Policy" in console


def data_of(page: str) -> str:
    text = re.search(r'<script type="application/json" id="points">(.*?)</script>', page, re.DOTALL)
    assert text
    return text[1]


def test_the_points_for_the_slider_say_where_each_dot_goes(pages, evaluations) -> None:
    models = json.loads(data_of(pages["two"]))
    assert [{mark[0] for point in points for mark in point["marks"]} for points in models] == [{0}, {1}]
    [points] = json.loads(data_of(pages["one"]))
    assert {tuple(mark[0] for mark in point["marks"]) for point in points} == {(0, 1)}  # a line for each condition
    assert [point["t"] for point in points] == [point.threshold for point in evaluations[0].curve]
    at = min(points, key=lambda point: abs(point["t"] - 0.4))
    for number, x, y in at["marks"]:  # where the chart has the dot of the model's own threshold
        drawn = re.search(rf'<g id="mark-{number}">.*?<use [^>]*x="([\d.]+)" y="([\d.]+)"', pages["one"], re.DOTALL)
        assert drawn
        assert (float(drawn[1]), float(drawn[2])) == pytest.approx((x, y), abs=0.1)
