"""The verbs of `claw-orchestrator`, one module each, loaded when called."""

__all__: list[str] = []
