"""Set up a fresh development device: `python first_start.py URL TOKEN`."""

from __future__ import annotations

import sys

from primegap.device.client import AutomationClient

PIN = "271828"
QUESTIONS = 3


def set_up(device: AutomationClient) -> list[str]:
    """Do what a person does at the first start; return the words of the new seed."""
    device.wait("welcome")
    device.press("start")
    for _ in range(2):  # choose the PIN, then repeat it
        device.wait("choose-pin")
        device.type(PIN)
        device.press("done")
    device.wait("seed-length")
    device.press("words-12")
    device.wait("offer-dice")
    device.press("no-dice")

    shown = device.wait("seed-words")
    words = [word for item in shown["screen"]["items"] for word in item.get("words", [])]
    while shown["page"] + 1 < shown["pages"]:  # "done" stands on the last page
        shown = device.press("page:next")
    device.press("done")

    for _ in range(QUESTIONS):  # "Which one is word 7?"
        shown = device.wait("quiz")
        question = next(i["text"] for i in shown["screen"]["items"] if i["type"] == "text")
        number = int(question.rstrip("?").split()[-1])
        device.press(f"word:{words[number - 1]}")

    device.wait("message")
    device.press("ok")
    device.wait("home")
    return words


if __name__ == "__main__":
    url, token = sys.argv[1:]
    print(" ".join(set_up(AutomationClient(url, token))))
