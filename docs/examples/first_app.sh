#!/usr/bin/env bash
# The commands of "Your first app in ten minutes", beside a device that runs and was set up.
set -euo pipefail

# --8<-- [start:new]
primegap app new tea-counter
cd tea-counter
python -m pytest -q
# --8<-- [end:new]

# --8<-- [start:check]
primegap app check
# --8<-- [end:check]

# --8<-- [start:change]
sed -i 's/"Counted"/"Cups of tea"/' src/tea_counter/screens.py
# --8<-- [end:change]

# --8<-- [start:key]
primegap app key new --name "Jane Doe" --no-passphrase
# --8<-- [end:key]

# --8<-- [start:build]
primegap app build
primegap app sign build/tea-counter-0.1.0.unsigned.app
# --8<-- [end:build]

# --8<-- [start:install]
primegap app install build/tea-counter-0.1.0.app
primegap app list
# --8<-- [end:install]
