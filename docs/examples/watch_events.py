"""Print the id of every screen until one is reached: `python watch_events.py URL TOKEN ID`."""

from __future__ import annotations

import json
import sys

from websockets.sync.client import connect

url, token, last = sys.argv[1:]
address = url.replace("http://", "ws://") + "/api/v1/events"
shown = ""
with connect(address, additional_headers={"Authorization": f"Bearer {token}"}) as events:
    for event in events:
        now = json.loads(event)["screen"]["id"]
        if now != shown:  # a screen is drawn many times: keys, pages, progress
            print(now, flush=True)
            shown = now
        if shown == last:
            break
