"""Run as a program, before `sandbox-exec`: takes the limits upon itself, and becomes it.

macOS limits no other process, so that whoever is to be limited does it first. Nothing of the job's runs here.
"""

import json
import os
import resource
import sys


def main() -> None:
    """Read the orders from a descriptor, and do as they say."""
    with open(int(sys.argv[1]), "rb") as file:
        orders = json.load(file)
    os.chdir(orders["folder"])
    for what, soft, hard in orders["limits"]:
        resource.setrlimit(what, (soft, hard))
    program, *arguments = orders["argv"]
    os.execve(program, [program, *arguments], orders["environment"])  # noqa: S606 - there is to be no shell


if __name__ == "__main__":
    main()
