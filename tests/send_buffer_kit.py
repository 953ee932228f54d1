"""How tests take chunks out of a send buffer."""

from __future__ import annotations

from primegap.quantumlink.session.send_buffer import SendBuffer


def take(buffer: SendBuffer, room: int, credit: int) -> tuple[int, bytes, bool] | None:
    """Take the next chunk: its offset, its bytes and whether it ends the lane."""
    start = buffer.next_offset(credit)
    chosen = None if start is None else buffer.take(room, credit, start)
    if start is None or chosen is None:
        return None
    stop, fin = chosen
    return start, buffer.copy_behind(b"", start, stop), fin
