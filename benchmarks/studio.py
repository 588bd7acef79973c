"""The studio under load: seconds to the first page and the first frame, 100 requests at once, memory over many.

    python benchmarks/studio.py [--runs FOLDER] [--requests 1000] [--minutes 10]

Without --runs a small model of digits is trained first. All requests go to this machine; the loop ends after so many
requests or minutes. Times are of the machine as it is, a busy one is slower.
"""

import argparse
import http.client
import json
import os
import re
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

WAY = ["ddim", 10, "visible", 1, "none", False]
FIRST_FRAME = ["unipc-sde", 0, "visible", 1, "none", True]
"""The settings with which the page opens."""
LOADING = 503
"""The status of the first page, of the runs there are, which is shown while the studio is loaded."""
AT_ONCE = 100
LOOKS = 10
WARM = 100
"""Requests after which the memory is to grow no more."""


class Studio:
    """The page as the command shows it.

    Arguments:
        runs: a folder of runs.
        flags: further ones of the command.
    """

    def __init__(self, runs: Path, *flags: str):
        command = [sys.executable, "-m", "lowerbound", "studio", str(runs), "--port", "0", *flags]
        self.began = time.perf_counter()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline().strip().rpartition(":")[2])
        status, content = self.ask("GET", "/")
        self.first_page = self.spent
        while status == LOADING:
            time.sleep(0.1)
            status, content = self.ask("GET", "/")
        self.studio = self.spent
        self.run = re.findall(r'"choices": ?\[\["([^"]+)"', content.decode())[0]

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Status and content of an answer."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)) as connection:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()

    def draw(self, count: int, seed: int, way: list) -> tuple[str, float]:
        """How a request for samples ended, and the seconds to its first frame."""
        began = time.perf_counter()
        data = {"data": [self.run, count, seed, *way, False, *way]}
        status, content = self.ask("POST", "/gradio_api/call/draw", json.dumps(data).encode())
        if status != 200:
            return f"refused with {status}", 0.0
        path, first = f"/gradio_api/call/draw/{json.loads(content)['event_id']}", 0.0
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)) as connection:
            connection.request("GET", path)
            ended, stream = "", connection.getresponse()
            while line := stream.readline().decode():
                if line.startswith("event: "):
                    ended = line[7:].strip()
                elif line.startswith("data: ") and "data:image/png" in line:
                    first = first or time.perf_counter() - began
                elif line.startswith("data: ") and ended == "error":
                    ended = "refused as full" if "full" in line else f"error {line[:200]}"
        return ended, first

    @property
    def spent(self) -> str:
        """Since the command was started."""
        ticks = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        processor = sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
        return f"{time.perf_counter() - self.began:.1f} s after the command was started, {processor:.1f} s of processor time"

    @property
    def memory(self) -> int:
        """Resident, in MiB."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * 4096 >> 20

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(60)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, help="a folder of runs")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=10.0)
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        runs = arguments.runs
        if runs is None:
            runs = Path(folder)
            train = ["train", "digits", "--minutes", "0.5", "--out", str(runs / "digits")]
            subprocess.run([sys.executable, "-m", "lowerbound", *train], check=True, stdout=subprocess.DEVNULL)
        studio = Studio(runs)
        try:
            measure(studio, arguments.requests, arguments.minutes)
        finally:
            studio.close()


def measure(studio: Studio, requests: int, minutes: float) -> None:
    """Print what is found."""
    print(f"first page      {studio.first_page}")
    print(f"the studio      {studio.studio}")
    began = time.perf_counter()
    studio.ask("GET", "/")
    print(f"the page again  {time.perf_counter() - began:.2f} s")
    for name in ("first frame", "and again"):
        ended, first = studio.draw(16, 0, FIRST_FRAME)
        print(f"{name:<15} {first:.2f} s after 16 digits were asked for ({ended})", flush=True)
    outcomes: list[str] = []
    threads = [
        threading.Thread(target=lambda seed=seed: outcomes.append(studio.draw(1, seed, WAY)[0]))
        for seed in range(AT_ONCE)
    ]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counted = ", ".join(f"{outcomes.count(outcome)} {outcome}" for outcome in sorted(set(outcomes)))
    print(f"{AT_ONCE} at once     {counted}, in {time.perf_counter() - began:.1f} s", flush=True)
    until, memory = time.monotonic() + 60 * minutes, {0: studio.memory}
    for number in range(1, requests + 1):
        ended, _ = studio.draw(1, number, WAY)
        assert ended == "complete", ended
        is_last = number == requests or time.monotonic() > until
        if number in (min(WARM, requests), requests) or number % max(1, requests // LOOKS) == 0 or is_last:
            memory[number] = studio.memory
        if is_last:
            break
    print("memory          " + ", ".join(f"{mebibytes} MiB after {number}" for number, mebibytes in memory.items()))
    if WARM in memory:
        print(f"growth          {memory[number] - memory[WARM]} MiB after the first {WARM} of {number} requests")


if __name__ == "__main__":
    main()
