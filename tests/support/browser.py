"""A headless Chromium without network, spoken to through a pipe in the DevTools protocol: no port, no package."""

import base64
import json
import os
import shutil
import subprocess
import time
from contextlib import closing, contextmanager

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 60.0


@contextmanager
def browser_in(folder):
    """A browser with its profile in a folder; the test is skipped where no Chromium is installed."""
    chromium = next(filter(None, map(shutil.which, NAMES)), None)
    if chromium is None:
        pytest.skip(f"none of {', '.join(NAMES)} is on PATH; install one, as by apt-get install chromium")
    with closing(Browser(chromium, folder)) as browser:
        yield browser


class Browser:
    """One tab. heard: the events of the page that is open."""

    def __init__(self, chromium, folder):
        commands, answers = os.pipe(), os.pipe()
        arguments = [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={folder}", "--remote-debugging-pipe", "about:blank",
        ]  # fmt: skip
        # Chromium reads its commands from descriptor 3 and answers on 4.
        moved = f'exec "$0" "$@" 3<&{commands[0]} 4>&{answers[1]}'
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                ["bash", "-c", moved, chromium, *arguments], pass_fds=(commands[0], answers[1]), stdout=log, stderr=log
            )
        os.close(commands[0])
        os.close(answers[1])
        self._in, self._out = os.fdopen(commands[1], "wb", 0), os.fdopen(answers[0], "rb", 0)
        self._rest, self._sent, self._session, self.heard = b"", 0, None, []
        tab = next(each for each in self.call("Target.getTargets")["targetInfos"] if each["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=tab["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def open(self, path, width, height=900, dark=False, scripts=False):
        """Show a file as a device of this width does, and wait until it is loaded."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.heard = []
        self.call("Page.navigate", url=path.as_uri())
        self._wait_for(lambda: any(event["method"] == "Page.loadEventFired" for event in self.heard))
        return self

    def ask(self, expression):
        """The value of an expression in the page; what is evaluated so is no script of the page's."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def screenshot(self, path):
        """The whole page, beyond what the window shows."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def of(self, method):
        """What was heard of one kind."""
        return [event["params"] for event in self.heard if event["method"] == method]

    def call(self, method, **params):
        """One command; returns its result."""
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._in.write(json.dumps(message).encode() + b"\0")
        answers = []
        self._wait_for(lambda: bool(answers), answers)
        assert "error" not in answers[0], answers[0]
        return answers[0]["result"]

    def close(self):
        self._process.terminate()
        self._process.wait()
        self._in.close()
        self._out.close()

    def _wait_for(self, condition, answers=()):
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, "the browser does not answer"
            message = self._read()
            if message.get("id") == self._sent and "id" in message:
                answers.append(message)
            elif "method" in message:
                self.heard.append(message)

    def _read(self):
        while b"\0" not in self._rest:
            part = self._out.read(1 << 16)
            assert part, "the browser is gone"
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)
