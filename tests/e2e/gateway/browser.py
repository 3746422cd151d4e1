"""A headless Chromium, by its DevTools protocol: tabs that a person could sit before."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

from clusterd.aio import beside
from clusterd.child import Child
from clusterd.testing import eventually

_FLAGS = (
    *("--headless=new", "--remote-debugging-port=0", "--window-size=1000,640", "--disable-gpu"),
    *("--no-first-run", "--disable-background-networking", "--disable-sync", "--disable-extensions"),
    *("--disable-dev-shm-usage", "--password-store=basic", "--lang=en-GB"),
)
_START_SECONDS = 40.0
_CALL_SECONDS = 20.0


def find_chromium() -> str | None:
    """Return the path of a Chromium, if there is one."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Tab:
    """One tab. `complaints` are the errors that its scripts and the browser logged, `sockets` its WebSockets' URLs."""

    def __init__(self, browser: Browser, session: str) -> None:
        self.complaints: list[str] = []
        self.sockets: list[str] = []
        self._browser = browser
        self._session = session

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return await self._browser.call(method, parameters, self._session)

    async def evaluate(self, expression: str) -> Any:
        """Return the value of an expression in the page, as JSON has it."""
        got = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in got, got
        return got["result"].get("value")

    async def text(self, selector: str) -> str:
        """Return the text that is shown of an element; "" if it isn't there."""
        return str(await self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    async def shows(self, selector: str, wanted: str, *, timeout: float = 15.0) -> None:
        """Wait until an element has this in its text."""

        async def there() -> bool:
            return wanted in await self.text(selector)

        await eventually(there, timeout, what=f"{wanted!r} in {selector}")

    async def type(self, selector: str, text: str) -> None:
        """Type into a field, and press Enter."""
        await self.evaluate(f"document.querySelector({json.dumps(selector)}).focus()")
        await self.call("Input.insertText", text=text)
        for kind in ("keyDown", "keyUp"):
            key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
            await self.call("Input.dispatchKeyEvent", type=kind, **key)

    async def click(self, selector: str) -> None:
        await self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    async def screenshot(self, path: Path) -> None:
        await self.call("Page.bringToFront")
        got = await self.call("Page.captureScreenshot", format="png")
        await asyncio.to_thread(path.write_bytes, base64.b64decode(got["data"]))

    def take(self, method: str, event: dict[str, Any]) -> None:
        """Take an event of the tab."""
        if method == "Runtime.exceptionThrown":
            self.complaints.append(event["exceptionDetails"].get("exception", {}).get("description", str(event)))
        elif method == "Log.entryAdded" and event["entry"]["level"] == "error":
            self.complaints.append(event["entry"]["text"])
        elif method == "Network.webSocketCreated":
            self.sockets.append(event["url"])


class Browser:
    """The browser, once it runs."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._tabs: dict[str, Tab] = {}

    async def open(self, url: str) -> Tab:
        """Open a page in a new tab, with storage of its own."""
        context = (await self.call("Target.createBrowserContext", {}))["browserContextId"]
        target = await self.call("Target.createTarget", {"url": "about:blank", "browserContextId": context})
        attached = await self.call("Target.attachToTarget", {"targetId": target["targetId"], "flatten": True})
        tab = self._tabs[attached["sessionId"]] = Tab(self, attached["sessionId"])
        for domain in ("Page", "Runtime", "Log", "Network"):
            await tab.call(f"{domain}.enable")
        await tab.call("Page.navigate", url=url)
        return tab

    async def call(self, method: str, parameters: dict[str, Any], session: str = "") -> dict[str, Any]:
        number = next(self._ids)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        said = {"id": number, "method": method, "params": parameters, **({"sessionId": session} if session else {})}
        await self._socket.send_json(said)
        async with asyncio.timeout(_CALL_SECONDS):
            return await answer

    async def listen(self) -> None:
        async for message in self._socket:
            self._hear(message.json())

    def _hear(self, said: dict[str, Any]) -> None:
        if "id" not in said:
            if tab := self._tabs.get(said.get("sessionId", "")):
                tab.take(said["method"], said["params"])
            return
        answer = self._answers.pop(said["id"])
        if "error" in said:
            answer.set_exception(AssertionError(said["error"]["message"]))
        elif not answer.done():
            answer.set_result(said["result"])


@asynccontextmanager
async def running(chromium: str, directory: Path) -> AsyncIterator[Browser]:
    """Run a Chromium with a profile of its own."""
    root = ("--no-sandbox",) if os.geteuid() == 0 else ()
    log = directory / "chromium.log"
    with log.open("wb") as out:
        process = await Child.spawn((chromium, *_FLAGS, *root, f"--user-data-dir={directory}"), stdout=out, stderr=out)
    ready = directory / "DevToolsActivePort"
    try:
        await eventually(lambda: ready.exists() and "\n" in ready.read_text(), _START_SECONDS, what="a Chromium")
        port, path = ready.read_text().split("\n")
        async with AsyncExitStack() as stack:
            http = await stack.enter_async_context(aiohttp.ClientSession())
            connecting = http.ws_connect(f"ws://127.0.0.1:{port}{path}", max_msg_size=0)
            browser = Browser(await stack.enter_async_context(connecting))
            await stack.enter_async_context(beside(browser.listen(), name="chromium"))
            try:
                yield browser
            finally:
                with suppress(OSError, TimeoutError, aiohttp.ClientError):
                    await browser.call("Browser.close", {})
    finally:
        await process.stop(10)
