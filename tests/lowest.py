"""Constraints by which pip installs the oldest version that pyproject.toml allows, of each package that the tests use and
that is no tool of theirs: `make test-lowest`.

Of torch, whose builds are for one kind of machine each, it is the version of constraints.txt.
"""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
TOOLS = ("dev", "docs", "bench")
"""Extras of those who work on the package."""


def main() -> None:
    """Print a line for each package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required, extras = project["dependencies"], project["optional-dependencies"]
    used = {each for name, extra in extras.items() if name not in TOOLS for each in extra}
    oldest = [
        each.replace(">=", "==") for each in {*required, *(used & {*extras["dev"]})} if not each.startswith("torch>")
    ]
    pinned = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("torch==")]
    print("\n".join(sorted([*oldest, *pinned])))


if __name__ == "__main__":
    main()
