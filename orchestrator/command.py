"""The `claw-orchestrator` command."""

import sys


def main() -> int:
    """Say that this version has no orchestrator, and fail."""
    print("claw-orchestrator: this version of OpenClaw Core has no orchestrator yet.", file=sys.stderr)
    return 1
