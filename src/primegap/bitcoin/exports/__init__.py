"""What other wallets want to know of a seed, in the form each of them reads (airgap.md section 7).

* `keys`: `ExportKeys`, the public keys of a seed at the paths that wallets know;
* `wallets`: `WALLETS`, `export_wallet`: for each wallet its format, file name and kind of code;
* `formats`: the formats themselves.

Everything here is public: what leaves shows addresses and amounts, and cannot spend.
"""

from __future__ import annotations
