"""A real Chromium without a window, steered through its own DevTools protocol: load, press, drag, look, photograph."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE = 60.0  # s, for whatever is waited for


class Browser:
    """One tab. complaints: what stands in its console as an error or a warning, or was refused by the page's policy."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._number = 0
        self.complaints: list[str] = []
        self.requested: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol, to its answer."""
        self._number += 1
        self._connection.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._connection.recv(timeout=PATIENCE))
            if message.get("id") == self._number:
                assert "error" not in message, message
                return message["result"]
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        method, content = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(content["exceptionDetails"]))
        elif method == "Log.entryAdded" and content["entry"]["level"] in {"error", "warning"}:
            self.complaints.append(content["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and content["type"] in {"error", "warning", "assert"}:
            self.complaints.append(json.dumps(content["args"]))
        elif method == "Network.requestWillBeSent":
            self.requested.append(content["request"]["url"])

    def open(self, address: str) -> None:
        """Go there."""
        self.call("Page.navigate", url=address)

    def run(self, script: str) -> Any:
        """The value of an expression in the page; a promise is awaited."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, script: str, seconds: float = PATIENCE) -> Any:
        """The value of an expression once it is true."""
        deadline = time.monotonic() + seconds
        while not (value := self.run(script)):
            if time.monotonic() > deadline:
                raise AssertionError(f"never true: {script}\n{self.complaints}\n{self.run('document.body.innerText')}")
            time.sleep(0.1)
        return value

    def look(self, width: int, height: int, dark: bool = False, scale: float = 1, touch: bool = False) -> None:
        """The size of the page in CSS pixels, the user's colours, and whether it is a phone."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=touch
        )
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def press(self, key: str, shift: bool = False) -> None:
        """A key, named as in JavaScript."""
        codes = {"Tab": 9, "Enter": 13, " ": 32, "ArrowUp": 38, "ArrowDown": 40, "PageUp": 33, "PageDown": 34}
        common = {"key": key, "windowsVirtualKeyCode": codes[key], "modifiers": 8 if shift else 0}
        text = {"Enter": "\r", " ": " "}.get(key)
        self.call("Input.dispatchKeyEvent", type="keyDown", **common, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def drag(self, selector: str, down: float) -> None:
        """Take the middle of an element with the mouse and move it so many pixels down."""
        box = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
        x, y = self.run(f"(r => [r.x + r.width / 2, r.y + r.height / 2])({box})")
        self._mouse("mousePressed", x, y)
        for part in (0.3, 0.6, 1.0):
            self._mouse("mouseMoved", x, y + part * down)
        self._mouse("mouseReleased", x, y + down)

    def click(self, selector: str) -> None:
        """The mouse, on the middle of an element."""
        self.run(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'nearest'}})")
        self.drag(selector, 0)

    def _mouse(self, kind: str, x: float, y: float) -> None:
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def photograph(self, path: Path, whole: bool = False) -> None:
        """The page as a PNG."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser with its profile in this folder, which can reach this machine alone."""
    from websockets.sync.client import connect

    assert PROGRAM is not None
    profile = folder / "profile"
    command = [
        *(PROGRAM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--mute-audio"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
        *("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost", "--remote-debugging-port=0"),
        *("--autoplay-policy=no-user-gesture-required", f"--user-data-dir={profile}", "about:blank"),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        base = next(line for line in process.stderr if "DevTools listening on " in line).split()[-1]
        with connect(base, max_size=None, compression=None) as root:
            root.send(json.dumps({"id": 1, "method": "Target.getTargets"}))
            while (message := json.loads(root.recv(timeout=PATIENCE))).get("id") != 1:
                pass
            target = next(each for each in message["result"]["targetInfos"] if each["type"] == "page")["targetId"]
        page = base.partition("/devtools/")[0] + f"/devtools/page/{target}"
        with connect(page, max_size=None, compression=None, ping_interval=None) as connection:
            yield Browser(connection)
    finally:
        process.kill()
        process.wait()
