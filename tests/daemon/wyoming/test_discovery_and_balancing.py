"""The Wyoming service in a network: found by multicast DNS, and spread over two servers behind a real HAProxy."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from zeroconf import ServiceBrowser, ServiceStateChange, Zeroconf

from daemon.config import settings
from daemon.config.wyoming_options import Address
from daemon.wyoming import discovery
from daemon.wyoming.discovery import OUTSIDE
from model import modelfile
from tests.support.chimed import Chimed, recording, tone_model
from tests.support.paths import ROOT, let_others_enter
from tests.support.systemd_manager import manager as manager  # noqa: PLC0414 - a fixture
from tests.support.wyoming_clients import PATIENCE, Client, chunks, connected, pcm, uri_of

pytestmark = pytest.mark.integration

DOCS = ROOT / "docs"
SOUND = list(chunks(pcm(recording(2, [1.0]))))
SATELLITES = 4


def free_ports(count: int) -> list[int]:
    """Ports that no one uses, at this moment."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()


@pytest.fixture
def balancer(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Starts HAProxy with the configuration of the documentation, at other ports; its address."""
    program = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/sbin:/bin")
    if program is None:
        pytest.skip("haproxy is not installed")
    started: list[subprocess.Popen[bytes]] = []

    def start(port: int, servers: list[str]) -> str:
        text = (DOCS / "haproxy.cfg").read_text()
        documented = [":10400", "127.0.0.1:10401", "127.0.0.1:10402"]
        for theirs, ours in zip(documented, [f"127.0.0.1:{port}", *servers], strict=True):
            assert text.count(theirs) == 1
            text = text.replace(theirs, ours)
        (tmp_path / "haproxy.cfg").write_text(text)
        started.append(subprocess.Popen([program, "-db", "-f", tmp_path / "haproxy.cfg"]))
        return f"tcp://127.0.0.1:{port}"

    yield start
    for each in started:
        each.kill()
        each.wait()


async def reconnecting(uri: str, heard: Callable[[], None]) -> None:
    """A satellite as in the houses: connects, listens, and once it was disconnected connects again, for ever."""
    while True:
        try:
            async with connected(uri) as one:
                await one.begin(["beep"])
                await asyncio.gather(speak(one), listen(one, heard))
        except (OSError, EOFError):
            await asyncio.sleep(0.2)


async def speak(one: Client) -> None:
    """The word, again and again, faster than anyone could say it."""
    while True:
        for event in SOUND:
            await one.send(event)
            await asyncio.sleep(0.005)


async def listen(one: Client, heard: Callable[[], None]) -> None:
    while (event := await one.receive()) is not None:
        if event.type == "detection":
            heard()
    raise EOFError


def test_the_satellites_of_a_server_that_dies_are_heard_by_the_other(start, model_file, balancer):
    (port,) = free_ports(1)
    servers = [start("wyoming", "--uri", "tcp://127.0.0.1:0", "--model", model_file) for _ in range(2)]
    uri = balancer(port, [uri_of(server).removeprefix("tcp://") for server in servers])
    heard = [0] * SATELLITES

    async def more_heard() -> None:
        """Every satellite is heard once more than it was."""
        before = list(heard)
        until = time.monotonic() + 2 * PATIENCE
        while not all(now > then for now, then in zip(heard, before, strict=True)):
            assert time.monotonic() < until, f"heard {heard}, before {before}"
            await asyncio.sleep(0.1)

    async def satellites() -> None:
        def count(number: int) -> Callable[[], None]:
            def one_more() -> None:
                heard[number] += 1

            return one_more

        tasks = [asyncio.create_task(reconnecting(uri, count(i))) for i in range(SATELLITES)]
        try:
            await more_heard()
            assert all(server.lines('heard "beep"') for server in servers)  # both have some of them
            servers[0].process.kill()
            await more_heard()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(satellites())
    assert servers[1].stop() == 0


def has_multicast() -> bool:
    """Whether this machine has a network on which names can be announced."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((OUTSIDE, 1))
        except OSError:
            return False
        return not probe.getsockname()[0].startswith("127.")


def test_it_is_found_by_its_name_while_it_serves(start, model_file):
    if not has_multicast():
        pytest.skip("there is no network here but this machine's own")
    kind, name = "_wyoming._tcp.local.", "chimed-test._wyoming._tcp.local."
    there, gone = threading.Event(), threading.Event()

    def changed(zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:  # noqa: ARG001
        if name.startswith("chimed-test."):
            (gone if state_change is ServiceStateChange.Removed else there).set()

    browser = Zeroconf()
    try:
        ServiceBrowser(browser, kind, handlers=[changed])
        server: Chimed = start(
            "wyoming", "--uri", "tcp://0.0.0.0:0", "--zeroconf", "chimed-test", "--model", model_file
        )
        server.wait_for("announced as " + name)
        assert there.wait(PATIENCE)
        info = browser.get_service_info(kind, name, timeout=10_000)
        assert info is not None
        assert info.port == int(uri_of(server).rpartition(":")[2])
        (address,) = info.parsed_addresses()

        async def client() -> None:
            async with connected(f"tcp://{address}:{info.port}") as one:
                assert (await one.info()).wake

        asyncio.run(client())
        assert not gone.is_set()
        assert server.stop() == 0
        assert gone.wait(PATIENCE)
    finally:
        browser.close()


def test_two_of_one_name_are_two_machines(start, model_file):
    """The second is given another name; the host of the first stays its own, and so does its address."""
    if not has_multicast():
        pytest.skip("there is no network here but this machine's own")
    kind = "_wyoming._tcp.local."
    browser = Zeroconf()
    try:
        found = []
        for name in ("chimed-twin", "chimed-twin-2"):
            server: Chimed = start(
                "wyoming", "--uri", "tcp://0.0.0.0:0", "--zeroconf", "chimed-twin", "--model", model_file
            )
            server.wait_for(f"announced as {name}.{kind}")
            info = browser.get_service_info(kind, f"{name}.{kind}", timeout=10_000)
            assert info is not None
            found.append(info.server)
        assert len(set(found)) == 2
        again = browser.get_service_info(kind, f"chimed-twin.{kind}", timeout=10_000)
        assert again is not None
        assert again.server == found[0]
    finally:
        browser.close()


def test_another_address_is_announced_anew(monkeypatch):
    """A new lease, or another network. The addresses are given, the announcements real."""
    if not has_multicast():
        pytest.skip("there is no network here but this machine's own")
    kind, name = "_wyoming._tcp.local.", "chimed-moved._wyoming._tcp.local."
    addresses = [[socket.inet_aton("192.0.2.1")]]

    async def given(_host: str) -> list[bytes]:
        return addresses[-1]

    async def until(browser: Zeroconf, address: str) -> None:
        for _ in range(100):
            info = await asyncio.to_thread(browser.get_service_info, kind, name, 1_000)
            if info is not None and info.parsed_addresses() == [address]:
                return
            await asyncio.sleep(0.1)
        pytest.fail(f"{address} was not announced")

    async def moved() -> None:
        browser = Zeroconf()
        try:
            async with discovery.announced("chimed-moved", Address("0.0.0.0", 10_400)):
                await until(browser, "192.0.2.1")
                addresses.append([socket.inet_aton("192.0.2.2")])
                await until(browser, "192.0.2.2")
        finally:
            browser.close()

    monkeypatch.setattr(discovery, "_addresses", given)
    monkeypatch.setattr(discovery, "ADDRESS_CHECK_SECONDS", 0.2)
    asyncio.run(moved())


# what the documentation tells to paste


def blocks(language: str) -> list[str]:
    """The code of this language in the documentation."""
    return re.findall(rf"^```{language}\n(.*?)^```", (DOCS / "wyoming.md").read_text(), re.MULTILINE | re.DOTALL)


def test_the_unit_is_one_that_systemd_understands(tmp_path):
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd is not installed")
    (unit,) = blocks("ini")
    assert unit.count("/opt/chimed/bin/chimed ") == 1
    path = tmp_path / "chimed-wyoming@10400.service"
    path.write_text(unit.replace("/opt/chimed/bin/chimed ", f"{sys.executable} -m daemon.cli "))
    done = subprocess.run([program, "verify", path], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_runs_under_systemd_hardened_as_it_is(manager, tmp_path):
    """As a user that exists only while it runs; what is added makes the test's own files visible."""
    (port,) = free_ports(1)
    modelfile.save(tmp_path / "beep.npz", tone_model())
    let_others_enter(tmp_path)
    name = f"chimed-wyoming@{port}"
    (manager.units / "chimed-wyoming@.service").write_text(blocks("ini")[0])
    drop_in = manager.units / "chimed-wyoming@.service.d"
    drop_in.mkdir()
    start = f"{sys.executable} -m daemon.cli wyoming --uri tcp://0.0.0.0:%i --zeroconf --model {tmp_path}/beep.npz"
    paths = " ".join(dict.fromkeys(map(str, [sys.prefix, sys.base_prefix, DOCS.parent, tmp_path])))
    (drop_in / "test.conf").write_text(
        f"[Service]\nExecStart=\nExecStart={start}\nEnvironment=PYTHONPATH={DOCS.parent}\n"
        f"ProtectHome=tmpfs\nBindReadOnlyPaths={paths}\n"
    )
    manager.control("daemon-reload", check=True)
    assert manager.control("start", name).returncode == 0, manager.journal(name)
    assert manager.show(name, "StatusText") == f"serving at tcp://0.0.0.0:{port}"

    async def client() -> None:
        async with connected(f"tcp://127.0.0.1:{port}") as one:
            assert len(await one.hear(recording(2, [1.0]))) == 1

    asyncio.run(client())
    if has_multicast():
        manager.wait_for(lambda: [line for line in manager.journal(name) if "announced as" in line[1]])
    assert manager.control("stop", name).returncode == 0
    assert manager.show(name, "Result") == "success"


def test_the_sections_are_ones_that_chimed_understands(tmp_path):
    texts = [text for text in blocks("yaml") if "wyoming:" in text]  # test_docs.py reads the others
    assert texts
    for text in texts:
        (tmp_path / "config.yaml").write_text(text)
        assert settings.load(tmp_path / "config.yaml").wyoming
