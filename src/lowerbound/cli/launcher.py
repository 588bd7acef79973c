"""Processes of one machine that do one command together: started, told to stop, and ended when one of them cannot go on.

They find one another as those that torchrun has started do. A signal is passed on to all of them, which stop as a single
process does; each is in a session of its own, so that Ctrl-C reaches it only once. If the launcher itself is killed, they
save everything and end.
"""

import math
import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence

from torch.distributed import TCPStore

from lowerbound.machine.interruption import ENDING, handling

LOOK = 0.05
"""Seconds between two looks at whether they still run."""
LOOK_BACK = 1.0
"""Seconds between two looks of theirs at whether the launcher still runs."""
LAUNCHER = "LOWERBOUND_LAUNCHER"
"""The environment variable that holds the launcher's process number."""
GRACE = 10.0
"""Seconds in which the others notice by themselves that one has ended with an error, then after a SIGTERM."""


def launch(command: Sequence[str], count: int) -> int:
    """Run a command in so many processes, and return the exit status: 0, or that of the first one that fails.

    Arguments:
        command: with its arguments.
        count: how many; `RANK` tells each its number.
    """
    meeting_point = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    shared = {
        **os.environ,
        LAUNCHER: str(os.getpid()),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(meeting_point.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count))),
    }
    received: list[int] = []
    with handling([signal.SIGINT, *ENDING], lambda number, frame: received.append(number)):
        workers = [
            subprocess.Popen(
                command, env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}, start_new_session=True
            )
            for rank in range(count)
        ]
        return _first_failure(workers, received)


def end_with_launcher() -> None:
    """Send this process a SIGTERM once its launcher has ended, as a SIGKILL ends it; without a launcher do nothing."""
    launcher = os.environ.get(LAUNCHER)
    if launcher is None:
        return

    def watch() -> None:
        while os.getppid() == int(launcher):  # an orphan's parent is another process
            time.sleep(LOOK_BACK)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _first_failure(workers: Sequence[subprocess.Popen[bytes]], received: list[int]) -> int:
    """Wait until all have ended, and pass on to them what signals come in the meantime; once one has failed, the others are
    given time to notice, and then ended."""
    status, deadline, remedies = 0, math.inf, [signal.SIGTERM, signal.SIGKILL]
    while True:
        statuses = [worker.poll() for worker in workers]
        if not status and any(statuses):
            # of several the one that a signal has ended, by which the others have failed
            status, deadline = min(each for each in statuses if each), time.monotonic() + GRACE
        if None not in statuses:
            return 128 - status if status < 0 else status
        if remedies and time.monotonic() > deadline:
            received.append(remedies.pop(0))
            deadline = time.monotonic() + GRACE
        while received:
            number = received.pop(0)
            for worker in workers:
                worker.send_signal(number)  # to one that has ended it does nothing
        time.sleep(LOOK)
