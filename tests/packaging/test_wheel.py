"""The wheel and the source archive, installed as people do it, in environments of their own; wheels for arm64."""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import daemon
from tests.support.packages import DEMO, ROOT, heard, run, why_no_index

pytestmark = pytest.mark.packaging

EXTRAS = ("plot", "wyoming", "monitor", "train", "align", "cluster", "bench")


@pytest.fixture(scope="module", autouse=True)
def index() -> None:
    """A package index, without which nothing can be installed."""
    if reason := why_no_index():
        pytest.skip(reason)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The source archive of this tree, and the wheel built from that archive."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "-q", "-o", folder, ROOT)
    [archive] = folder.glob("*.tar.gz")
    [wheel] = folder.glob("*.whl")
    return archive, wheel


def works(chimed: Path, folder: Path) -> None:
    """Fails unless this command, away from any clone, hears what the clone's hears."""
    assert run(chimed, "--version", folder=folder) == f"chimed {daemon.__version__}\n"
    assert run(chimed, "detect", DEMO, folder=folder) == heard()


def test_the_wheel_has_all_that_people_need(built):
    names = set(zipfile.ZipFile(built[1]).namelist())
    data = f"chimed-{daemon.__version__}.data/data/share"
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "model" / "words").glob("*.npz")} <= names
    assert {f"daemon/{path.relative_to(ROOT)}" for path in (ROOT / "systemd").iterdir()} <= names
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "daemon" / "monitor" / "assets").iterdir()} <= names
    assert {f"{package}/py.typed" for package in ("daemon", "model", "training")} <= names  # types for who imports them
    for program in ("chimed", "chimed-train"):
        assert f"{data}/man/man1/{program}.1" in names
        assert f"{data}/bash-completion/completions/{program}" in names
        assert f"{data}/zsh/site-functions/_{program}" in names
        assert f"{data}/fish/vendor_completions.d/{program}.fish" in names
    assert not [name for name in names if name.startswith(("tests/", "docs/", "scripts/"))]


def test_the_source_archive_has_what_the_tests_need_and_nothing_else(built):
    with tarfile.open(built[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"tests/conftest.py", "docs/hooks.md", "scripts/build_hook.py", "constraints.txt", "Makefile"} <= names
    assert not [name for name in names if name.startswith((".git/", ".venv", "dist/", "work/"))]


def test_pip_installs_it_into_an_environment_of_its_own(built, tmp_path):
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    run(tmp_path / "venv/bin/python", "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", built[1])
    works(tmp_path / "venv/bin/chimed", tmp_path)
    assert (tmp_path / "venv/share/man/man1/chimed.1").is_file()
    bare = run(tmp_path / "venv/bin/python", "-m", "pip", "list", "--format=freeze").lower()
    assert "tensorflow" not in bare
    assert "matplotlib" not in bare


def test_pipx_installs_and_removes_it(built, tmp_path):
    pytest.importorskip("pipx", reason="pipx is not installed")
    places = {f"PIPX_{name}": str(tmp_path / name.lower()) for name in ("HOME", "BIN_DIR", "MAN_DIR")}
    pipx = (sys.executable, "-m", "pipx")
    run(*pipx, "install", "--python", sys.executable, f"{built[1]}[monitor]", **places)
    works(tmp_path / "bin_dir" / "chimed", tmp_path)
    assert (tmp_path / "man_dir" / "man1" / "chimed.1").is_file()
    run(*pipx, "uninstall", "chimed", **places)
    assert [path for path in tmp_path.rglob("*") if path.name == "chimed"] == []


def test_uv_installs_and_removes_it(built, tmp_path):
    pytest.importorskip("uv", reason="uv is not installed")
    places = {f"UV_TOOL_{name}": str(tmp_path / name.lower()) for name in ("DIR", "BIN_DIR")}
    uv = (sys.executable, "-m", "uv", "tool")
    run(*uv, "install", "-q", "--python", sys.executable, f"{built[1]}[plot,monitor,wyoming]", **places)
    works(tmp_path / "bin_dir" / "chimed", tmp_path)
    run(tmp_path / "bin_dir" / "chimed", "detect", "--plot", tmp_path / "heard.png", DEMO)
    assert (tmp_path / "heard.png").read_bytes().startswith(b"\x89PNG")
    run(*uv, "uninstall", "-q", "chimed", **places)
    assert not (tmp_path / "bin_dir" / "chimed").exists()


@pytest.mark.parametrize("extra", ["", *EXTRAS])
def test_wheels_for_a_raspberry_pi_exist(extra, tmp_path):
    """All that an extra needs has a wheel for arm64 with Debian 12's C library: nothing is compiled there."""
    pytest.importorskip("uv", reason="uv is not installed")
    target = ("--python-platform", "aarch64-manylinux_2_36", "--python-version", "3.11", "--only-binary", ":all:")
    chosen = ("--extra", extra) if extra else ()
    command = (sys.executable, "-m", "uv", "pip", "compile", "-q", "-c", ROOT / "constraints.txt", *target, *chosen)
    listed = run(*command, ROOT / "pyproject.toml", folder=tmp_path)
    assert "numpy==" in listed
    assert ("tensorflow==" in listed) == (extra in {"train", "align", "cluster"})
