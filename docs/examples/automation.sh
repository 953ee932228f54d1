#!/usr/bin/env bash
# One call of each endpoint on a fresh development device: URL=… TOKEN=… bash automation.sh FOLDER
set -euo pipefail
folder=$1

ask() { # ask PATH [curl options]
    local path=$1
    shift
    curl --silent --show-error --fail-with-body --header "Authorization: Bearer $TOKEN" "$@" "$URL/api/v1$path"
    echo
}

ask /wait --data '{"screen": "welcome", "timeout_s": 30}' # the first screen
ask /screen                                              # the screen as data
ask /screen.png --output "$folder/screen.png"            # and as pixels
ask /press --data '{"target": "start"}'
ask /type --data '{"text": "2718"}'                      # four digits on the keypad
ask /touch --data '{"phase": "down", "x": 100, "y": 740}' # a finger on "Back" …
ask /touch --data '{"phase": "up", "x": 100, "y": 740}'   # … and off again
ask /wait --data '{"screen": "welcome"}'
ask /scan --data-binary "@$folder/screen.png"            # nobody looks for a code here: "idle"
