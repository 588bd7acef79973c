"""Constraints by which pip installs the oldest version that pyproject.toml allows, of each package that the tests use and
that is no tool of theirs: `make test-lowest`.

Of torch, whose builds are for one kind of machine each, it is the version of constraints.txt.
"""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def main() -> None:
    """Print a line for each package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    tested = extras["dev"][0].removeprefix("lowerbound[").removesuffix("]").split(",")
    required = [*project["dependencies"], *(each for name in tested for each in extras[name])]
    oldest = [each.replace(">=", "==") for each in required if not each.startswith("torch>")]
    pinned = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("torch==")]
    print("\n".join(sorted([*oldest, *pinned])))


if __name__ == "__main__":
    main()
