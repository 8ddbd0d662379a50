"""`document-qa`: the answer to a question about files, with quotations and where they stand."""

from skills.bundled.documents.answer import answer
from skills.bundled.task import Outcome, Progress, Task
from skills.errors import InputRefused
from skills.model import LanguageModel

__all__ = ["run"]


def run(task: Task, model: LanguageModel, progress: Progress) -> Outcome:
    """Answer a question; `Runner` says more."""
    if not task.question:
        raise InputRefused(
            "Nothing was asked.", hint='claw skill run document-qa -f FILE "What does it say about …?"'
        )
    return answer(task, model, progress)
