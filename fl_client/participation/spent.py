"""What taking part has cost in privacy this year: by what was really sent, and as this device works it out itself.

A task's ε is that of all updates that this device has sent of it, at the task's δ, by the noise of the honest
devices alone. It is counted before an update leaves, so that neither a crash nor a lost answer makes it smaller.
"""

import datetime
from typing import TYPE_CHECKING

from federation.task import Task, read_task
from vault.consent_store import ConsentStore
from vault.participation_store import ParticipationStore

if TYPE_CHECKING:
    from vault.database import Database

__all__ = ["after_one_more", "spent_this_year", "year_began_ms"]


def year_began_ms(now: datetime.datetime | None = None) -> int:
    """When this year (UTC) began, in milliseconds since 1970."""
    year = (now or datetime.datetime.now(datetime.UTC)).year
    return int(datetime.datetime(year, 1, 1, tzinfo=datetime.UTC).timestamp() * 1000)


def spent_this_year(database: "Database") -> dict[str, float]:
    """The ε of each task that updates were sent of this year, by `federation/task`."""
    known = {consent.task: consent for consent in reversed(ConsentStore(database).all()) if consent.task}
    spent: dict[str, float] = {}
    for took in ParticipationStore(database).since(year_began_ms()):
        if consent := known.get(took.task):
            name = f"{consent.name}/{consent.task_name}"
            # Versions of one task are learned from the same examples: what they cost adds up.
            spent[name] = spent.get(name, 0.0) + read_task(consent.message).plan.epsilon(took.times)
    return spent


def after_one_more(database: "Database", federation: str, task: Task) -> float:
    """The ε of a task and its other versions this year, if one more update of it is sent."""
    total = 0.0
    known = {consent.task: consent for consent in ConsentStore(database).all() if consent.federation == federation}
    times = 1
    for took in ParticipationStore(database).since(year_began_ms()):
        if took.federation != federation:
            continue
        if took.task == task.digest.hex():
            times += took.times
        elif (consent := known.get(took.task)) and consent.task_name == task.name:
            total += read_task(consent.message).plan.epsilon(took.times)
    return total + task.plan.epsilon(times)
