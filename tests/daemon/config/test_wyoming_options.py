"""Addresses and options of the Wyoming service: what is understood, and what is refused, with the reason."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from daemon.config import settings
from daemon.config.wyoming_options import Address, WyomingOptions, check, parse_uri
from daemon.system.errors import ConfigError, UsageError
from model.extras import install


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        ("tcp://127.0.0.1:10400", Address("127.0.0.1", 10_400)),
        ("tcp://0.0.0.0", Address("0.0.0.0", 10_400)),
        ("tcp://[::1]:99", Address("::1", 99)),
        ("tcp://localhost:0/", Address("localhost", 0)),
        ("unix:///run/w.sock", Address(path=Path("/run/w.sock"))),
        ("unix://w.sock", Address(path=Path("w.sock"))),
        ("stdio://", Address()),
    ],
)
def test_addresses(uri, address):
    assert parse_uri(uri) == address
    assert parse_uri(str(address)) == address


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "10400",
        "http://x:1",
        "tcp://",
        "tcp://:10400",
        "tcp://a:b",
        "tcp://a:70000",
        "tcp://a/b",
        "unix://",
        "tcp:a",
    ],
)
def test_no_address(uri):
    with pytest.raises(UsageError, match=r"tcp://HOST|names no path|no address"):
        parse_uri(uri)


@pytest.mark.parametrize(
    ("uri", "public"),
    [
        ("tcp://0.0.0.0", True),
        ("tcp://[::]", True),
        ("tcp://192.168.0.3", True),
        ("tcp://127.0.0.1", False),
        ("tcp://localhost", False),
        ("tcp://[::1]", False),
        ("unix:///x", False),
        ("stdio://", False),
    ],
)
def test_only_what_others_can_reach_can_be_announced(uri, public):
    assert parse_uri(uri).public == public
    check(WyomingOptions(uri))
    if public:
        check(WyomingOptions(uri, zeroconf="kitchen"))
    else:
        with pytest.raises(UsageError, match="zeroconf"):
            check(WyomingOptions(uri, zeroconf="kitchen"))


def configured(tmp_path: Path, text: str) -> WyomingOptions | None:
    (tmp_path / "config.yaml").write_text(text)
    return settings.load(tmp_path / "config.yaml").wyoming


def test_the_section(tmp_path):
    assert configured(tmp_path, "chime: true") is None
    assert configured(tmp_path, "wyoming:") == WyomingOptions()
    assert configured(tmp_path, "wyoming: {zeroconf: false}") == WyomingOptions()
    text = """
        wyoming:
          uri: tcp://0.0.0.0:10401
          max_streams: 4
          idle_timeout: 60
          zeroconf: true
          arbitrate_ms: 300
          arbitrate_by: surest
    """
    assert configured(tmp_path, text) == WyomingOptions("tcp://0.0.0.0:10401", 4, 60.0, "chimed", 300, "surest")
    assert configured(tmp_path, "wyoming: {uri: 'tcp://[::]', zeroconf: attic}") == WyomingOptions(
        "tcp://[::]", zeroconf="attic"
    )


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        ("{uri: stdio://}", "standard input"),
        ("{uri: 'http://x'}", "tcp://HOST"),
        ("{uri: 7}", "text is needed"),
        ("{max_streams: 0}", "outside 1 to 10000"),
        ("{idle_timeout: 0}", "outside 1 to"),
        ("{arbitrate_ms: -1}", "outside 0 to 5000"),
        ("{arbitrate_by: strongest}", "is not known; did you mean"),
        ("{zeroconf: true}", "zeroconf tells other machines"),
        ("{max_stream: 3}", "did you mean 'max_streams'"),
    ],
)
def test_a_section_that_is_refused_with_its_line(tmp_path, section, reason):
    with pytest.raises(ConfigError, match=reason) as caught:
        configured(tmp_path, f"chime: true\nwyoming: {section}\n")
    assert f"{tmp_path / 'config.yaml'}:2: wyoming" in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--uri", "tcp://x:y"], "no address of a service"),
        (["--zeroconf"], "tcp://0.0.0.0:10400"),
        (["--max-streams", "0"], "not between 1 and 10000"),
        (["--idle-timeout", "x"], "--idle-timeout"),
        (["--arbitrate-by", "any"], "--arbitrate-by"),
        (["--arbitrate-ms", "5000", "--idle-timeout", "5"], "a longer idle time-out"),
    ],
)
def test_a_command_line_that_makes_no_sense(call, arguments, reason):
    done = call("wyoming", *arguments)
    assert done.returncode == 2
    assert reason in done.stderr


def test_without_the_package_it_says_what_to_install(environment):
    """An environment in which `wyoming` cannot be imported, as after a plain install."""

    program = "import sys; sys.modules['wyoming'] = None; from daemon.cli.main import main; sys.exit(main(['wyoming']))"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr == f"chimed: the Wyoming service needs the package wyoming: {install('wyoming')}\n"
