"""`chimed-train` as a user types it: real commands, one sentence for every error."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from model.extras import install
from model.modelfile import load, save
from tests.support.chimed import recording, tone_model
from tests.support.examples import bursts, random_model
from tests.support.shared import seed
from training.cli.main import parser
from training.measuring.operating_points import CAUTIOUS_THRESHOLD

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-c", "import sys; from training.cli.main import main; sys.exit(main())"]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom training.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
        "print(sorted({'numpy', 'tensorflow', 'scipy', 'matplotlib'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.endswith("[]\n")
    for command in ("word", "speak", "fit", "export", "evaluate", "import"):
        assert command in result.stdout


def test_numpy_has_one_thread_in_every_command() -> None:
    """Two of them spin for each other, and on a busy machine scoring takes ten times as long."""
    code = (
        "import sys, os, training.cli.evaluate as cli\n"
        "def count(_):\n import numpy as np\n np.ones((500, 500)) @ np.ones((500, 500))\n"
        " print(len(os.listdir('/proc/self/task')))\n"
        "cli.run = count\nfrom training.cli.main import main\nmain(['evaluate', 'x.npz'])"
    )
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert result.stdout == "1\n"


def test_without_the_extra_it_says_what_to_install(tmp_path) -> None:
    """As `chimed` alone is installed, which brings this command too."""
    code = (
        "import sys\nfor name in ('tqdm', 'scipy', 'pydub', 'tensorflow', 'keras'): sys.modules[name] = None\n"
        "from training.cli.main import main; sys.exit(main())"
    )
    for arguments in (["word", "hey"], ["build", tmp_path, "-o", tmp_path / "set"], ["speak", "hey", "-o", tmp_path]):
        command = [sys.executable, "-c", code, *map(str, arguments)]
        result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert result.returncode == 1
        assert result.stderr == f"chimed-train: training needs the package tqdm: {install('train')}\n"


def test_a_missing_folder_or_model_is_one_sentence(tmp_path) -> None:
    nowhere = tmp_path / "nowhere"
    save(tmp_path / "tok.npz", random_model())
    missing = run("evaluate", tmp_path / "tok.npz", "--speech", nowhere, "--work", tmp_path)
    assert (missing.returncode, missing.stderr) == (1, f"chimed-train: {nowhere}: no such folder\n")
    no_model = run("evaluate", nowhere / "x.npz", "--work", tmp_path)
    assert no_model.returncode == 1
    assert no_model.stderr.startswith(f"chimed-train: {nowhere}/x.npz: ")
    assert "Traceback" not in no_model.stderr


def test_evaluate_prints_a_table_or_json(tmp_path) -> None:
    save(tmp_path / "tok.npz", random_model())
    for name in ("words", "speech"):
        (tmp_path / name).mkdir()
        noise = 0.1 * np.random.default_rng(0).standard_normal(16_000)
        soundfile.write(tmp_path / name / "a.wav", noise, 16_000)
        (tmp_path / name / "broken.wav").write_text("no audio")
    arguments = ["evaluate", tmp_path / "tok.npz", "--positives", tmp_path / "words", "--speech", tmp_path / "speech"]
    arguments += ["--work", tmp_path, "--threshold", 0.5, "--snr", 5]
    text = run(*arguments)
    assert text.returncode == 0, text.stderr
    assert text.stderr.count("left out: ") == 2
    assert "| missed: words, quiet" in text.stdout
    assert "| missed: words, 5 dB" in text.stdout
    data = json.loads(run(*arguments, "--json").stdout)
    [model] = data["models"]
    assert [point["threshold"] for point in model["thresholds"]] == [0.5]
    assert model["false_accepts"]["speech"]["hours"] == pytest.approx(1.5 / 3600, abs=1e-4)


def test_the_threshold_for_a_wished_rate_is_written_into_the_model_file(tmp_path) -> None:
    save(tmp_path / "tok.npz", random_model())
    (tmp_path / "speech").mkdir()
    soundfile.write(tmp_path / "speech" / "a.wav", bursts(4), 44_100)
    arguments = ["evaluate", tmp_path / "tok.npz", "--speech", tmp_path / "speech", "--work", tmp_path]
    result = run(*arguments, "--set-threshold", 0)
    assert result.returncode == 0, result.stderr
    model = load(tmp_path / "tok.npz")
    assert model.measured["threshold"] == model.threshold > 0.02
    assert model.measured["false_accepts"]["speech"]["count"] == 0
    assert model.measured["points"][0][2] > 0
    assert f"threshold {model.threshold:g}" in result.stderr
    assert "nobody can see" not in result.stderr
    assert run(*arguments, "--set-threshold", 0).returncode == 0
    unwritable = run(*arguments, "--html", tmp_path / "nowhere" / "report.html")
    assert unwritable.stderr.endswith(
        "chimed-train: " + str(tmp_path / "nowhere/report.html") + ": No such file or directory\n"
    )
    assert unwritable.returncode == 1
    two = run("evaluate", tmp_path / "tok.npz", tmp_path / "tok.npz", *arguments[2:], "--set-threshold", 1)
    assert "--set-threshold and --write-threshold are for one model at a time" in two.stderr
    assert run(*arguments, "--write-threshold", 0.01).returncode == 0
    own = load(tmp_path / "tok.npz")
    assert own.measured["threshold"] == own.threshold == 0.01
    assert own.measured["false_accepts"]["speech"]["count"] > 0
    assert "not allowed with" in run(*arguments, "--write-threshold", 0.01, "--set-threshold", 1).stderr


def test_a_threshold_that_no_speech_or_too_little_can_tell_is_not_the_lowest(tmp_path) -> None:
    save(tmp_path / "tok.npz", tone_model())
    for name, tones in (("words", [1.0]), ("talk", [])):
        (tmp_path / name).mkdir()
        soundfile.write(tmp_path / name / "a.wav", recording(4, tones), 44_100)
    evaluate = ["evaluate", tmp_path / "tok.npz", "--work", tmp_path]
    before = (tmp_path / "tok.npz").read_bytes()
    for folders in (["--positives", tmp_path / "words"], ["--noise", tmp_path / "talk"]):
        result = run(*evaluate, *folders, "--set-threshold", 0.5)
        assert result.returncode == 1
        assert result.stderr == (
            "chimed-train: --set-threshold chooses by false accepts on speech: name folders of it with --speech\n"
        )
    assert run(*evaluate, "--positives", tmp_path / "words", "--set-threshold", 0).returncode == 1
    assert (tmp_path / "tok.npz").read_bytes() == before

    little = run(*evaluate, "--speech", tmp_path / "talk", "--set-threshold", 1)
    assert little.returncode == 0, little.stderr
    warned, written = little.stderr.splitlines()[-2:]
    assert "in 0 min of speech nobody can see whether it fires more than 1 times an hour" in warned
    assert f"the threshold is {CAUTIOUS_THRESHOLD:g} at least" in warned
    assert written == f"{tmp_path / 'tok.npz'}: threshold {load(tmp_path / 'tok.npz').threshold:g}"
    model = load(tmp_path / "tok.npz")
    assert model.measured["threshold"] == model.threshold == CAUTIOUS_THRESHOLD

    # never in this sound: that is seen in any
    never = run(*evaluate, "--noise", tmp_path / "talk", "--set-threshold", 0)
    assert never.returncode == 0, never.stderr
    assert "nobody can see" not in never.stderr
    assert load(tmp_path / "tok.npz").threshold < CAUTIOUS_THRESHOLD


@pytest.mark.parametrize(
    "command",
    [
        "speak hey -o spoken",
        "word hey",
        "fit hey --positives a --speech b --noise c -o hey.npz",
        "stress hey.npz --positives a",
        "adapt hey.npz --positives a",
        "build raw_data -o set",
    ],
)
def test_a_seed_that_no_generator_takes_is_refused_at_the_command_line(command, capsys) -> None:
    assert parser().parse_args([*command.split(), "--seed", "3"]).seed == 3
    for number in ("-1", "x"):
        with pytest.raises(SystemExit) as exit_:
            parser().parse_args([*command.split(), "--seed", number])
        assert exit_.value.code == 2
        assert "argument --seed: " in capsys.readouterr().err


@pytest.mark.skipif(not shutil.which("espeak-ng"), reason="espeak-ng is not installed")
def test_speak_makes_both_sides_of_a_training_set(tmp_path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("captivate active motivate table zebra garden")
    result = run("speak", "activate", "-o", tmp_path / "out", "--positives", 4, "--negatives", 8, "--words", words)
    assert result.returncode == 0, result.stderr
    assert len(list((tmp_path / "out" / "positives").glob("*.flac"))) == 4
    assert len(list((tmp_path / "out" / "negatives").glob("*.flac"))) == 8
    said = [json.loads(line)["text"] for line in (tmp_path / "out/positives/manifest.jsonl").read_text().splitlines()]
    assert said == ["activate"] * 4
    assert "near words:" in result.stdout


def test_the_assignments_weights_become_a_model_file(tmp_path) -> None:
    result = run("import", seed() / "model.json", seed() / "model.h5", "-o", tmp_path / "seed.npz")
    assert result.returncode == 0, result.stderr
    model = load(tmp_path / "seed.npz")
    assert (model.word, model.front_end.scaling, model.front_end.bins) == ("activate", "power", 101)
