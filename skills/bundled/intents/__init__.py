"""Which of some choices a request wants, or none of them: the work of the skill `intent-router`."""

from skills.bundled.intents.router import Choice, Decision, Ranked, Router

__all__ = ["Choice", "Decision", "Ranked", "Router"]
