"""Firefox as a distribution packs it, driven without a driver between: it speaks
WebDriver BiDi (https://www.w3.org/TR/webdriver-bidi/) over a WebSocket by itself."""

import itertools
import json
import shutil
import subprocess
import time
from contextlib import contextmanager

from websockets.sync.client import connect

BROWSER = shutil.which("firefox-esr") or shutil.which("firefox")


def patient(condition, seconds=120):
    """Wait for a function to say yes; a busy machine takes its time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.1)


@contextmanager
def launched(folder):
    """A Firefox, which keeps its profile, and what a page saves, in `folder`."""
    prefs = {"browser.download.folderList": 2, "browser.download.dir": str(folder)}
    lines = [f"user_pref({json.dumps(k)}, {json.dumps(v)});" for k, v in prefs.items()]
    profile = folder / "profile"
    profile.mkdir()
    (profile / "user.js").write_text("\n".join(lines))
    command = [BROWSER, "--headless", "--profile", profile, "--remote-debugging-port=0"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        said = profile / "WebDriverBiDiServer.json"
        patient(lambda: said.exists() and said.stat().st_size)
        server = json.loads(said.read_text())
        url = f"ws://{server['ws_host']}:{server['ws_port']}/session"
        with connect(url, max_size=None) as socket:
            yield Firefox(socket)
    finally:
        process.terminate()
        process.wait(30)


class Firefox:
    """One window."""

    def __init__(self, socket):
        self.socket, self.ids = socket, itertools.count()
        self.call("session.new", capabilities={})
        (window,) = self.call("browsingContext.getTree")["contexts"]
        self.window = window["context"]

    def call(self, method, seconds=120, **params):
        """Send a command, pass over events, and return its result."""
        number = next(self.ids)
        message = {"id": number, "method": method, "params": params}
        self.socket.send(json.dumps(message))
        while (answer := json.loads(self.socket.recv(seconds))).get("id") != number:
            pass
        assert answer["type"] == "success", answer
        return answer["result"]

    def visit(self, url):
        here = {"context": self.window, "wait": "complete"}
        self.call("browsingContext.navigate", url=url, **here)

    def evaluate(self, expression):
        """What an expression is, or its promise; anything that JSON can hold."""
        script = {
            "expression": f"(async () => JSON.stringify(await ({expression})))()",
            "target": {"context": self.window},
            "awaitPromise": True,
        }
        try:
            answer = self.call("script.evaluate", 30, **script)
        except TimeoutError:  # a promise that a page makes as it loads may be forgotten
            answer = self.call("script.evaluate", **script)
        assert answer["type"] == "success", answer
        return json.loads(answer["result"].get("value", "null"))

    def wait_for(self, expression):
        patient(lambda: self.evaluate(expression))

    def act(self, kind, actions):
        source = {"type": kind, "id": kind, "actions": actions}
        self.call("input.performActions", context=self.window, actions=[source])

    def press(self, key):
        self.act("key", [{"type": t, "value": key} for t in ("keyDown", "keyUp")])

    def drag(self, selector, *points):
        """Press the mouse on an element, and move from point to point of it, (0, 0) its
        upper left corner, (1, 1) its lower right; the middle alone is a click."""
        script = f"""(() => {{
            const element = document.querySelector({json.dumps(selector)});
            element.scrollIntoView({{ block: "center", behavior: "instant" }});
            const {{ left, top, width, height }} = element.getBoundingClientRect();
            return [left, top, width, height]; }})()"""
        left, top, width, height = self.evaluate(script)
        moves = [
            {
                "type": "pointerMove",
                "x": int(left + x * width),
                "y": int(top + y * height),
            }
            for x, y in points or [(0.5, 0.5)]
        ]
        down, up = ({"type": f"pointer{how}", "button": 0} for how in ("Down", "Up"))
        self.act("pointer", [moves[0], down, *moves[1:], up])
