"""primegap: an open signing device, its companion, and the post-quantum link between them."""

from __future__ import annotations
