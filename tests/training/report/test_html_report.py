"""The report: one file, complete in itself, that a real browser shows, plays and lets its reader move."""

import json
import re
import shutil
import subprocess
import zlib
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from tests.support.examples import bursts, random_model
from training.measuring.evaluation import evaluate
from training.measuring.score_recordings import Recording, sample_of
from training.report.charts import Axis, rate_axis, round_axis
from training.report.embedded_media import png
from training.report.html_report import html, peaks

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
            assert (attributes.get(key) or "data:").startswith("data:")
    assert "url(" not in pages[name]
    kinds = [tag for tag, _ in tags]
    assert kinds.count("image") == kinds.count("audio") >= 6
    assert len(pages[name]) < 5_000_000


def test_names_from_outside_are_text(pages) -> None:
    assert "<b>folder" not in pages["two"]
    assert "&lt;b&gt;folder" in pages["two"]
    assert "second <i>" not in pages["two"]


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
    assert [value for value, _, _ in found] == sorted((value for value, _, _ in found), reverse=True)
    samples = sorted(sample for _, _, sample in found)
    assert min(np.diff(samples)) >= 0.99 * RATE
    value, _, sample = found[0]
    assert value == stream.smoothed.max()
    assert sample == sample_of(int(np.argmax(stream.smoothed)))


def test_a_picture_is_a_valid_png() -> None:
    shades = np.arange(12, dtype=np.uint8).reshape(3, 4)
    content = png(shades)
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    start = content.index(b"IDAT") + 4
    length = int.from_bytes(content[start - 8 : start - 4], "big")
    lines = np.frombuffer(zlib.decompress(content[start : start + length]), np.uint8).reshape(3, 5)
    np.testing.assert_array_equal(lines[:, 1:], shades)
    pillow = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    import io

    image = pillow.open(io.BytesIO(content))
    assert (image.size, np.asarray(image).tolist()) == ((4, 3), shades.tolist())


def test_axes_cover_their_values_with_few_round_ticks() -> None:
    for low, high in ((-0.31, 0.27), (0, 1), (0, 37), (3, 3.001)):
        axis = round_axis("", low, high)
        assert axis.low <= low < high <= axis.high
        assert 2 <= len(axis.ticks) <= 10
    rates = rate_axis("", hours=2.0, highest=50)
    assert [name for _, name in rates.ticks] == ["0", "1", "10"]
    assert rates.share(0.0) == 0 < rates.share(0.5) < rates.share(50) < 1
    assert Axis("", 0, 10, []).share(20) == 1


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
      const shown = document.querySelector("svg image").getAttribute("href");
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
    assert cell
    assert cell[1] == f"{nearest.false_accepts['speech'].value:.2f}"


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_the_page_may_not_ask_for_anything(pages, tmp_path) -> None:
    page = pages["one"].replace("</main>", '<img src="http://127.0.0.1:9/x.png"></main>')
    _, console = browse(page, tmp_path)
    assert "Content Security Policy" in console


def test_the_points_for_the_slider_are_data_that_no_text_can_leave(pages) -> None:
    text = re.search(r'<script type="application/json" id="points">(.*?)</script>', pages["two"], re.DOTALL)
    assert text
    models = json.loads(text[1])
    assert len(models) == 2
    assert {len(point["marks"]) for point in models[0]["points"]} == {1}
