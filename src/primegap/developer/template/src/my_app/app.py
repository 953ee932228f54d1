"""Where the app meets the device: started when the person opens it, ended when they leave."""

from __future__ import annotations

from my_app import screens
from my_app.counter import Counter
from primegap.keyos.api import security, ui
from primegap.keyos.process import Process
from primegap.keyos.storage import SealedFile
from primegap.keyos.ui.canonical import encode_screen


async def main(process: Process) -> None:
    """Run until the person leaves."""
    process.serve()
    await process.call(ui.WaitOpened())
    # A secret that no other app has. At the first time the device asks the person.
    seed = await process.call(security.GetAppSeed(), security.AppSeed)
    file = SealedFile(process.data, "counter", seed.seed)
    counter = Counter.decode(file.read())
    while True:
        screen = encode_screen(screens.counting(counter))
        pressed = await process.call(ui.Present(screen), ui.Pressed)
        if pressed.action == screens.COUNT:
            counter = counter.up()
        elif pressed.action == screens.RESET:
            counter = Counter()
        else:
            break
        file.write(counter.encode())
    await process.call(ui.Close())
