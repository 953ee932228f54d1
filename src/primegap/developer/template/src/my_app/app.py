"""Where the app meets the device: started when the person opens it, ended when they leave."""

from __future__ import annotations

from my_app import screens
from my_app.counter import Counter
from primegap.keyos.client import AppScreen, Process, SealedFile, app_seed


async def main(process: Process) -> None:
    """Run until the person leaves."""
    screen = AppScreen(process)
    process.serve()
    await screen.opened()
    # A secret that no other app has. At the first time the device asks the person.
    file = SealedFile(process.data, "counter", await app_seed(process))
    counter = Counter.decode(file.read())
    while True:
        pressed = await screen.present(screens.counting(counter))
        if pressed == screens.COUNT:
            counter = counter.up()
        elif pressed == screens.RESET:
            counter = Counter()
        else:
            break
        file.write(counter.encode())
    await screen.close()
