"""A whole system whose processes are killed one after another, and the person who uses it on.

Everything is a process of its own: the private chain, the virtual air, the device, and a companion
that is the command line. `House` starts, kills and restarts them; `Person` looks at the device and
does what a person would: types the PIN, reads, approves what is meant, rejects what is not.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any, Final

from tests.e2e.device_support import make_data_directory
from tests.e2e.sandbox_support import is_alive
from tests.e2e.walking_support import role_processes
from tests.stored_seed import PIN, store_seed

from primegap.demo.shop import new_address
from primegap.device.air import StartedAir, start_air
from primegap.device.client import AutomationClient, AutomationClientError
from primegap.device.launcher import DeviceSettings, StartedDevice, start_device
from primegap.regtest import call_control

AMOUNT: Final = "0.001"
OF_THE_DEVICE: Final = ("core", "security", "ui", "panel", "link", "calls", "bitcoin", "radio")
AROUND_IT: Final = ("air", "companion", "chain")
STOPS_THE_DEVICE: Final = frozenset({"core", "ui", "panel"})
ASKED_ONCE: Final = frozenset({"link", "calls", "radio", "air", "companion", "chain"})
"Whoever of these dies, the app and the screen live: nothing is asked twice."
LONGEST_STEP_S: Final = 6.0
AFTER_HOLD_S: Final = 2.3  # about when the hold of a payment is complete
RECOVERY_S: Final = 100.0
REAPING_S: Final = 10.0


class FailureError(AssertionError):
    """An invariant did not hold."""


class Person(threading.Thread):
    """Looks at the device and acts, whatever is shown, until told to stop."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.client: AutomationClient | None = None
        self.wants = ""
        "`pair`, `unpair` or nothing."
        self.code = ""
        "Text of the pairing code on the screen."
        self.refuses: set[str] = set()
        "Recipients whose payments are not meant."
        self.holds: Counter[str] = Counter()
        "How often the button under a question was held: by recipient, or by the screen's id."
        self.told: list[str] = []
        "Messages that were on the screen."
        self.asked = threading.Event()
        "A question is on the screen."
        self.held = threading.Event()
        "A button is being held."
        self.leave = threading.Event()

    def run(self) -> None:
        while not self.leave.is_set():
            client = self.client
            if client is None:
                time.sleep(0.05)
                continue
            with contextlib.suppress(AutomationClientError):  # it dies, or the screen changed
                shown = client.screen()
                if not self._act(client, shown, shown["screen"]["id"]):
                    time.sleep(0.1)

    def _act(self, client: AutomationClient, shown: dict[str, Any], screen: str) -> bool:
        targets = {target["id"] for target in shown["targets"]}
        match screen:
            case "unlock":
                client.type(PIN, timeout_s=1)
                client.press("done", timeout_s=1)
            case "home":
                return self._at_home(client, targets)
            case "pairing":
                self.code = next(i["text"] for i in shown["screen"]["items"] if i["type"] == "qr")
                if self.wants == "pair":
                    return False
                client.press("back", timeout_s=1)
            case "companion":
                client.press("unpair" if self.wants == "unpair" else "ok", timeout_s=1)
            case "confirm-pairing" | "share-account" | "confirm-unpair":
                self._approve(client, screen, screen)
            case "review":
                addresses = (i for i in shown["screen"]["items"] if i["type"] == "address")
                recipient = str(next(addresses)["text"])
                if recipient in self.refuses:
                    self.asked.set()
                    client.press("reject", timeout_s=1)
                else:
                    self._approve(client, screen, recipient)
            case _:
                return self._read_message(client, shown, targets)
        return True

    def _at_home(self, client: AutomationClient, targets: set[str]) -> bool:
        target = {"pair": "pair", "unpair": "companion"}.get(self.wants, "")
        if target in targets:
            client.press(target, timeout_s=1)
            return True
        if self.wants == "unpair" and "pair" in targets:
            self.wants = ""
        return False

    def _approve(self, client: AutomationClient, screen: str, question: str) -> None:
        self.asked.set()
        shown = client.screen()
        while shown["screen"]["id"] == screen and shown["page"] + 1 < shown["pages"]:
            shown = client.press("page:next", timeout_s=1)
        self.holds[question] += 1
        self.held.set()
        client.press("confirm", timeout_s=1)

    def _read_message(
        self, client: AutomationClient, shown: dict[str, Any], targets: set[str]
    ) -> bool:
        leave = next((name for name in ("ok", "back", "leave") if name in targets), None)
        if leave is None:
            return False
        texts = [str(item.get("text", "")) for item in shown["screen"]["items"]]
        self.told.append(f"{shown['screen']['id']}: {' '.join(texts)}")
        client.press(leave, timeout_s=1)
        return True


class House:
    """All processes, and what must hold of them."""

    def __init__(self, folder: Path, rng: Random) -> None:
        self.folder = folder
        self.rng = rng
        self.person = Person()
        self.errors: Counter[str] = Counter()
        "What the companion said when something did not work: code and hint."
        self.stops: list[str] = []
        "Why the device stopped."
        self.approved: set[str] = set()
        "Transactions that the person meant."
        self.story: list[str] = []
        self.account = ""
        self._log = (folder / "log").open("ab")
        self._closing = contextlib.ExitStack()
        self._closing.callback(self._log.close)

    def __enter__(self) -> House:
        with contextlib.ExitStack() as started:
            started.enter_context(self._closing)
            self.start_chain()
            started.callback(self.end_chain)
            self.start_air()
            started.callback(self._end_air)
            # Set up as if that had been done long ago.
            make_data_directory(self.folder / "device")
            store_seed(self.folder / "device")
            self.start_device()
            started.callback(self.end_device)
            self.person.start()
            started.callback(self._dismiss_person)
            self._closing = started.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._closing.close()

    def _dismiss_person(self) -> None:
        self.person.leave.set()
        self.person.join(RECOVERY_S)

    # -- processes ------------------------------------------------------------------------------

    def start_chain(self) -> None:
        """Start the private chain; its Electrum server gets another port each time."""
        command = ["--data-dir", str(self.folder / "regtest"), "--electrum-port", "0"]
        self.chain = subprocess.Popen(
            [sys.executable, "-m", "primegap.regtest", *command, "--until-stdin-closes"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        assert self.chain.stdout is not None
        line = json.loads(self.chain.stdout.readline() or b"{}")
        if "ready" not in line:
            raise FailureError(f"the chain does not start again: {line}")
        self.electrum = line["ready"]["electrum_url"]

    def end_chain(self) -> None:
        self.chain.kill()
        self.chain.communicate()

    def start_air(self) -> None:
        self.air: StartedAir = start_air(self.folder / "air")

    def _end_air(self) -> None:
        self.air.stop()

    def start_device(self) -> None:
        settings = DeviceSettings(
            data=self.folder / "device",
            network="regtest",
            development=True,
            bluetooth=self.air.device,
        )
        self.device: StartedDevice = start_device(settings, journal=self._log)
        self.pids: set[int] = set()
        self._reader = threading.Thread(target=self._read, args=(self.device,), daemon=True)
        self._reader.start()
        self.person.client = AutomationClient(self.device.url, self.device.token)

    def _read(self, device: StartedDevice) -> None:
        for line in device.events:
            event = json.loads(line)
            if event["event"] == "process-started":
                self.pids.add(event["pid"])
            elif event["event"] == "stopped":
                self.stops.append(event["reason"])

    def end_device(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.device.process.terminate()
        self.wait_device_ended()

    def wait_device_ended(self) -> None:
        """Wait for the end of core; nothing that it started may outlive it for long."""
        self.device.process.wait(REAPING_S)
        self._reader.join(REAPING_S)
        self.device.events.close()
        deadline = time.monotonic() + REAPING_S
        while left := [pid for pid in self.pids if is_alive(pid)]:
            if time.monotonic() > deadline:
                raise FailureError(f"processes outlive the device: {left}")
            time.sleep(0.05)

    def kill(self, victim: str, companion: subprocess.Popen[bytes]) -> None:
        """Kill one process without warning."""
        if victim == "companion":
            companion.kill()
        elif victim == "chain":
            self.chain.kill()
        elif victim == "air":
            self.air.process.kill()
        elif victim == "core":
            self.device.process.kill()
        else:
            for pid in role_processes(self.device.process.pid, victim)[:1]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def restart(self, victim: str) -> None:
        """Start again what does not come back by itself."""
        if victim == "chain":
            self.end_chain()
            self.start_chain()
        elif victim == "air":
            self.air.stop()
            self.start_air()
        elif victim in STOPS_THE_DEVICE:
            self.person.client = None
            self.wait_device_ended()
            self.start_device()

    # -- the companion --------------------------------------------------------------------------

    def companion(self, *words: str) -> subprocess.Popen[bytes]:
        """Start one command of the companion."""
        command = [sys.executable, "-m", "primegap.cli", "--data-dir", str(self.folder)]
        options = ["--electrum", self.electrum, "--bluetooth", self.air.companion]
        return subprocess.Popen(
            [*command, "companion", *options, *words, "--json"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def answer(self, command: subprocess.Popen[bytes]) -> dict[str, Any] | None:
        """Return what a command printed: its result, its error, or None when it was killed."""
        out, err = command.communicate(timeout=RECOVERY_S)
        if command.returncode < 0:
            return None
        try:
            answer: dict[str, Any] = json.loads(out)
        except ValueError:
            raise FailureError(f"the companion broke: {err.decode()[-2000:]}") from None
        if command.returncode:
            self.errors[f"{answer['error']}: {answer['message']}. {answer['hint']}"] += 1
        return answer

    def run(self, *words: str) -> dict[str, Any]:
        """Run one command that nobody kills."""
        answer = self.answer(self.companion(*words))
        if answer is None:
            raise FailureError("the companion was killed by somebody else")
        return answer

    def mine(self) -> list[str]:
        blocks: Any = call_control(self.folder / "regtest", "mine")
        return list(blocks[-1]["txids"])

    # -- steps with a kill ----------------------------------------------------------------------

    def attacked(self, victim: str, *words: str) -> dict[str, Any] | None:
        """Run a command of the companion and kill somebody at a moment while it runs."""
        self.person.asked.clear()
        self.person.held.clear()
        command = self.companion(*words)
        moment = self.rng.choice(("any", "asked", "held"))
        delay_s = self.rng.random()
        began = time.monotonic()
        if moment == "any":
            time.sleep(delay_s * LONGEST_STEP_S)
        else:
            event = self.person.asked if moment == "asked" else self.person.held
            event.wait(LONGEST_STEP_S * 4)
            time.sleep(0.3 * delay_s if moment == "asked" else AFTER_HOLD_S - 0.4 + delay_s)
        after_s = time.monotonic() - began
        self.kill(victim, command)
        self.story.append(f"{words[0]}: {victim} killed {moment}, after {after_s:.2f} s")
        self.restart(victim)
        answer = self.answer(command)
        self.story[-1] += f" -> {'-' if answer is None else answer.get('error', 'done')}"
        print(self.story[-1], flush=True)
        return answer

    def until(self, done: str, *words: str, first: dict[str, Any] | None) -> dict[str, Any]:
        """Try again as a person would, until an answer has what is wanted."""
        deadline = time.monotonic() + RECOVERY_S
        answer = first
        while answer is None or done not in answer:
            if time.monotonic() > deadline:
                raise FailureError(f"{words[0]} does not work any more: {answer}")
            answer = self.run(*words)
        return answer

    def pair(self, victim: str) -> None:
        """Pair under a kill; both sides know each other in the end."""
        self.person.wants, self.person.code = "pair", ""
        code = self._wait_code("")
        answer = self.attacked(victim, "pair", "--code", code)
        deadline = time.monotonic() + RECOVERY_S
        while answer is None or "fingerprint" not in answer:
            if time.monotonic() > deadline:
                raise FailureError(f"pairing does not work any more: {answer}")
            if answer is not None and answer["error"] == "already-paired":
                break  # the companion died after it was
            if self._device_has_companion():
                self._forget_on_device()
            self.person.wants = "pair"
            code = self._wait_code(code if answer is not None else "")
            answer = self.run("pair", "--code", code)
        self.person.wants = ""
        self._wait_home("companion")
        if any(text.startswith("pairing-rejected") for text in self.errors):
            raise FailureError("the companion says that a person rejected what nobody rejected")

    def _wait_code(self, old: str) -> str:
        """Wait for a pairing code other than the one that was used up."""
        deadline = time.monotonic() + RECOVERY_S
        while self.person.code in ("", old):
            if self._device_has_companion():
                self._forget_on_device()
                self.person.wants = "pair"
            if time.monotonic() > deadline:
                raise FailureError("no pairing code is shown")
            if old and self._screen() == "pairing":
                # The person closes the screen and opens it again: a code is used once.
                self.person.wants = ""
                self._wait_home("pair")
                self.person.wants = "pair"
            time.sleep(0.1)
        return self.person.code

    def _screen(self) -> str:
        client = self.person.client
        with contextlib.suppress(AutomationClientError):
            if client is not None:
                return str(client.screen()["screen"]["id"])
        return ""

    def _device_has_companion(self) -> bool:
        client = self.person.client
        with contextlib.suppress(AutomationClientError):
            if client is not None:
                shown = client.screen()
                return any(target["id"] == "companion" for target in shown["targets"])
        return False

    def _forget_on_device(self) -> None:
        self.person.wants = "unpair"
        deadline = time.monotonic() + RECOVERY_S
        while self.person.wants == "unpair":
            if time.monotonic() > deadline:
                raise FailureError("the device does not forget its companion")
            time.sleep(0.1)

    def _wait_home(self, target: str) -> None:
        """Wait until nothing waits for the person any more."""
        deadline = time.monotonic() + RECOVERY_S
        while time.monotonic() < deadline:
            client = self.person.client
            with contextlib.suppress(AutomationClientError):
                if client is not None:
                    shown = client.screen()
                    targets = {one["id"] for one in shown["targets"]}
                    if shown["screen"]["id"] == "home" and target in targets:
                        return
            time.sleep(0.1)
        raise FailureError(f"the device does not come home: {self._screen()}, wanted {target}")

    def share(self, victim: str) -> None:
        """Have the account shared under a kill; it is the same account for ever."""
        before = self.person.holds["share-account"]
        first = self.attacked(victim, "accounts", "--again")
        answer = self.until("accounts", "accounts", "--again", first=first)
        account = answer["accounts"][0]["external"]
        if self.account not in ("", account):
            raise FailureError("the device has another seed")
        self.account = account
        held = self.person.holds["share-account"] - before
        if not 1 <= held <= (1 if victim in ASKED_ONCE else 2):
            raise FailureError(f"asked {held} times to share the account")
        self._wait_home("companion")

    def fund(self) -> None:
        """Give the account coins for many payments."""
        for _ in range(2):
            address = self.run("receive")["address"]
            call_control(
                self.folder / "regtest", "faucet", {"address": address, "amount_sat": 10_000_000}
            )
            self.mine()
        self.until("height", "sync", first=None)

    def pay(self, victim: str) -> None:
        """Pay under a kill: once if it was meant, never if it was not."""
        recipient = new_address()
        meant = self.rng.random() < 0.75
        if not meant:
            self.person.refuses.add(recipient)
        answer = self.attacked(victim, "send", recipient, AMOUNT, "--fee-rate", "2")
        deadline = time.monotonic() + RECOVERY_S
        if answer is None or answer.get("error") != "rejected":
            if not any(stored["address"] == recipient for stored in self.payments()):
                # It died before it had composed anything.
                answer = self.run("send", recipient, AMOUNT, "--fee-rate", "2")
            while answer is None or "error" in answer:
                if answer is not None and answer["error"] == "rejected":
                    break
                if time.monotonic() > deadline:
                    raise FailureError(f"the payment cannot be completed: {answer}")
                answer = self.run("resume")
        self._check_payment(victim, recipient, meant=meant)

    def payments(self) -> list[dict[str, Any]]:
        """Return the companion's list of payments, as it is stored."""
        folder = self.folder / "companion" / "payments"
        return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]

    def _check_payment(self, victim: str, recipient: str, *, meant: bool) -> None:
        stored = [one for one in self.payments() if one["address"] == recipient]
        in_block = self.mine()
        if meant:
            if [one["stage"] for one in stored] != ["broadcast"]:
                raise FailureError(f"not paid, or twice: {[one['stage'] for one in stored]}")
            self.approved.add(stored[0]["txid"])
        elif stored:
            raise FailureError("a rejected payment is still in the list")
        held = self.person.holds[recipient]
        if held > (0 if not meant else 1 if victim in ASKED_ONCE else 2) or (meant and not held):
            raise FailureError(f"the payment was confirmed {held} times")
        history = self.until("transactions", "history", first=None)["transactions"]
        spent = {entry["txid"] for entry in history if entry["delta"] < 0}
        if spent != self.approved:
            raise FailureError(f"{len(self.approved)} payments were meant, {len(spent)} are made")
        if len(in_block) > 2:  # the coinbase and the payment, which may be in an earlier block
            raise FailureError("a block with more than one payment")
        self._wait_home("companion")

    def part(self) -> None:
        """Forget each other, so that the next story can begin."""
        if "error" in self.run("unpair"):
            raise FailureError("the companion does not forget the device")
        self.person.wants = "unpair"
        self._wait_home("pair")
        self.person.wants = ""
