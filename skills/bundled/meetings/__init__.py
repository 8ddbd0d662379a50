"""`meeting-summarizer`: the minutes of a meeting from its transcript, or the answer to a question about it."""

from skills.bundled.asking import leave_room
from skills.bundled.documents.answer import answer
from skills.bundled.meetings.cues import candidates
from skills.bundled.meetings.minutes import Minutes, as_markdown
from skills.bundled.meetings.parts import cut
from skills.bundled.meetings.points import points
from skills.bundled.meetings.summary import reductions, summarize
from skills.bundled.meetings.transcript import read_transcript
from skills.bundled.task import Outcome, Progress, Task
from skills.errors import InputRefused
from skills.model import LanguageModel

__all__ = ["run"]

_PART_TOKENS = 400
_AROUND_A_PART = 500
"""Tokens of the longest prompt, with its answer, beside the part."""
_MOST_POINTS = 10


def run(task: Task, model: LanguageModel, progress: Progress) -> Outcome:
    """Make minutes, or answer a question; `Runner` says more."""
    if len(task.sources) != 1:
        raise InputRefused(
            "One transcript makes one meeting.", hint="claw skill run meeting-summarizer -f TRANSCRIPT [QUESTION]"
        )
    if task.question:
        return answer(task, model, progress)
    leave_room(model, _PART_TOKENS + _AROUND_A_PART)
    transcript = read_transcript(task.sources[0].text)
    if not transcript.utterances:
        raise InputRefused("There is nothing said in that transcript.", hint="Name the file that holds its text.")
    parts = cut(transcript.utterances, _PART_TOKENS, model.count)
    proposed = candidates(transcript.utterances, transcript.speakers, _MOST_POINTS)
    total = len(parts) + reductions(len(parts)) + sum(map(len, proposed.values()))
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        progress("summarizing", done, total)

    progress("summarizing", 0, total)
    summary = summarize(parts, model, step)
    decisions, actions, questions = (points(proposed[kind], model, step) for kind in proposed)
    minutes = Minutes(
        speakers=transcript.speakers,
        lines=task.sources[0].text.rstrip("\n").count("\n") + 1,
        summary=summary,
        decisions=decisions,
        actions=actions,
        questions=questions,
    )
    return Outcome(minutes, as_markdown(minutes, model.name))
