# SPDX-License-Identifier: GPL-2.0-or-later
"""A headless Chromium, driven over its DevTools pipe; the standard library is enough.

Browser() starts it, page() opens a tab; end() ends it, by pid. A tab keeps everything it was told:
requests (every one that the page made), errors (console, exceptions, refusals of the policy).
"""
import base64
import itertools
import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time

LIMIT = 120  # seconds for anything that must happen


class Failed(Exception):
    pass


def poll(what, condition, limit=LIMIT):
    end = time.monotonic() + limit
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"waited {limit} s for: {what}")
        time.sleep(0.05)


class Browser:
    def __init__(self):
        self.profile = tempfile.TemporaryDirectory(prefix="iho-chromium.")
        to_read, to_write = os.pipe()
        from_read, from_write = os.pipe()
        # The pipe is on the descriptors 3 and 4. No name resolves: nothing leaves this machine.
        options = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--remote-debugging-pipe",
            "--no-first-run",
            "--no-default-browser-check",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-extensions",
            "--hide-scrollbars",
            "--mute-audio",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            f"--user-data-dir={self.profile.name}",
            "about:blank",
        ]
        self.log = open(os.path.join(self.profile.name, "log"), "wb")
        self.process = subprocess.Popen(
            [
                "bash",
                "-c",
                f'exec chromium "$@" 3<&{to_read} 4>&{from_write}',
                "chromium",
                *options,
            ],
            pass_fds=(to_read, from_write),
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )
        os.close(to_read)
        os.close(from_write)
        self.out = os.fdopen(to_write, "wb", buffering=0)
        self.inp = os.fdopen(from_read, "rb", buffering=0)
        self.ids = itertools.count(1)
        self.answers = {}
        self.tabs = {}
        self.changed = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        rest = b""
        while True:
            try:
                part = self.inp.read(65536)
            except (OSError, ValueError):
                part = b""
            if not part:
                break
            *messages, rest = (rest + part).split(b"\0")
            for message in map(json.loads, messages):
                with self.changed:
                    if "id" in message:
                        self.answers[message["id"]] = message
                    elif message.get("sessionId") in self.tabs:
                        self.tabs[message["sessionId"]].event(message["method"], message["params"])
                    self.changed.notify_all()

    def call(self, method, session=None, **params):
        number = next(self.ids)
        message = {"id": number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        self.out.write(json.dumps(message).encode() + b"\0")
        with self.changed:
            if not self.changed.wait_for(lambda: number in self.answers, LIMIT):
                raise Failed(f"Chromium does not answer {method}")
            answer = self.answers.pop(number)
        if "error" in answer:
            raise Failed(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def page(self, url, width=1280, height=800, scheme="dark", script=""):
        """script: what runs before anything of a page does."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = Tab(self, session)
        self.tabs[session] = tab
        for domain in ("Page", "Runtime", "Network", "Log"):
            tab.call(f"{domain}.enable")
        tab.size(width, height)
        tab.scheme(scheme)
        tab.call("Page.addScriptToEvaluateOnNewDocument", source=script)
        tab.loaded = False
        tab.call("Page.navigate", url=url)
        poll(f"{url} to load", lambda: tab.loaded)
        return tab

    def end(self):
        try:
            self.call("Browser.close")
        except (Failed, OSError):
            pass
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)  # its own session: this browser only
            self.process.wait()
        self.profile.cleanup()


class Tab:
    def __init__(self, browser, session):
        self.browser = browser
        self.session = session
        self.requests = []
        self.errors = []
        self.replies = queue.Queue()  # (request id, url) of bodies that arrived
        self.urls = {}
        self.loaded = False

    def call(self, method, **params):
        return self.browser.call(method, self.session, **params)

    def event(self, method, p):
        if method == "Network.requestWillBeSent":
            self.requests.append(p["request"]["url"])
            self.urls[p["requestId"]] = p["request"]["url"]
        elif method == "Network.loadingFinished":
            self.replies.put((p["requestId"], self.urls.get(p["requestId"], "")))
        elif method == "Page.loadEventFired":
            self.loaded = True
        elif method == "Runtime.exceptionThrown":
            d = p["exceptionDetails"]
            self.errors.append("exception: " + d.get("exception", {}).get("description", d["text"]))
        elif method == "Runtime.consoleAPICalled" and p["type"] in ("error", "warning", "assert"):
            self.errors.append("console: " + " ".join(str(a.get("value")) for a in p["args"]))
        elif method == "Log.entryAdded" and p["entry"]["level"] in ("error", "warning"):
            e = p["entry"]
            self.errors.append(f"{e['source']}: {e['text']} {e.get('url', '')}")

    def js(self, expression):
        r = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in r:
            d = r["exceptionDetails"]
            raise Failed(d.get("exception", {}).get("description", d["text"]))
        return r["result"].get("value")

    def text(self, selector):
        return self.js(f"document.querySelector({json.dumps(selector)})?.textContent")

    def choose(self, selector, value):
        self.js(
            f"""(() => {{ const s = document.querySelector({json.dumps(selector)});
            s.value = {json.dumps(value)}; s.dispatchEvent(new Event('change', {{ bubbles: true }})); }})()"""
        )

    def press(self, key, code=None):
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=code or key,
                windowsVirtualKeyCode={
                    "Tab": 9,
                    "Enter": 13,
                    "ArrowLeft": 37,
                    "ArrowUp": 38,
                    "ArrowRight": 39,
                    "ArrowDown": 40,
                }[key],
            )

    def size(self, width, height):
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def scheme(self, scheme):
        self.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )

    def screenshot(self):
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
