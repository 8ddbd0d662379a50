"""`claw limits`: when learning may use this machine, shown with what is so now, and changed."""

import json
from collections.abc import Iterator

import pytest

from federation.messages import encode
from fl_client.limits.choices import CHOICES
from tests.fixtures.command import Person
from tests.fl_client.limits.desktop import Bus, private_bus
from tests.orchestrator.federations import task_of
from vault.consent_store import Consent, ConsentStore, Installs
from vault.learning_days import LearningDays
from vault.participation_store import Participation, ParticipationStore
from vault.settings import LimitSettings, load_settings


@pytest.fixture
def bus(newcomer: Person) -> Iterator[Bus]:
    """A bus of the person's own, in the place of the desktop's and the system's."""
    with private_bus() as bus:
        newcomer.environment["DBUS_SYSTEM_BUS_ADDRESS"] = bus.address
        newcomer.environment["DBUS_SESSION_BUS_ADDRESS"] = bus.address
        yield bus


def shown(person: Person) -> dict[str, dict[str, object]]:
    told = json.loads(person.claw("limits", "show", "--json").stdout)
    assert list(told) == ["limits", "holds"]
    assert told["holds"] == all(limit["holds"] for limit in told["limits"])
    assert all(list(limit) == ["name", "limit", "now", "holds", "why"] for limit in told["limits"])
    return {limit["name"]: limit for limit in told["limits"]}


def limits_of(person: Person) -> LimitSettings:
    return load_settings(person.home.config_file).limits


def test_every_limit_is_shown_with_what_is_so_now_and_the_reasons_are_said(newcomer: Person, bus: Bus) -> None:
    with bus.mutter(3_000), bus.network_manager(1):
        done = newcomer.claw("limits", "show")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["LIMIT", "SET", "TO", "NOW", "HOLDS"]
    assert [line.split()[0] for line in lines[1:]] == [*CHOICES]
    rows = {line.split()[0]: line.split("  ")[-1].strip() for line in lines}
    assert rows["idle"] == rows["unmetered"] == "no"
    assert rows["hours"] == rows["minutes"] == "yes"
    assert "Learning waits:\n" in done.stderr
    assert "  This machine is in use: it has been unused for 3 s, not for 5 min.\n" in done.stderr
    assert "  The network counts bytes.\n" in done.stderr
    assert not newcomer.home.data.exists()


def test_a_program_can_read_them(newcomer: Person, bus: Bus) -> None:
    with bus.mutter(7_200_000), bus.network_manager(2):
        limits = shown(newcomer)
    assert limits["idle"] == {"name": "idle", "limit": "5 min unused", "now": "unused for 2 h", **limits["idle"]}
    assert limits["unmetered"] == {
        "name": "unmetered",
        "limit": "on",
        "now": "not metered",
        "holds": True,
        "why": "",
    }


def test_what_learning_took_today_stands_beside_what_it_may(person: Person) -> None:
    person.set("limits.minutes_a_day", "10")
    with person.vault() as vault:
        vault.database.write(lambda c: LearningDays.add(c, trained_s=600, uploaded=3 << 20))
        midnight_passed = LearningDays(vault.database).today().uploaded == 0
    limits = shown(person)
    if not midnight_passed:
        assert limits["upload"]["now"] == "3.0 MiB sent"
        assert limits["minutes"]["now"] == "10 trained"
        assert limits["minutes"]["holds"] is False
        assert "Today's 10 minutes of training are over" in str(limits["minutes"]["why"])


def test_what_each_task_has_cost_in_privacy_this_year_stands_beside_what_it_may(person: Person) -> None:
    person.set("limits.epsilon_a_year", "0.5")
    task = task_of()
    federation, digest = "ab" * 32, task.digest.hex()
    consent = Consent(0, federation, "ours", digest, task.name, encode(task), "", "", Installs.ASK, 0)
    round_ = Participation(federation, digest, 1, 1, 0, 0)
    with person.vault() as vault:
        vault.database.write(lambda c: ConsentStore.give(c, consent))
        ParticipationStore(vault.database).begin(round_)
        ParticipationStore(vault.database).sending(round_, 20, 100, "cd" * 32, 5)
    epsilon = shown(person)["epsilon"]
    once = task.plan.epsilon(1)
    assert once > 0.5
    assert epsilon == {
        "name": "epsilon",
        "limit": "0.5 a year and task",
        "now": f"{once:.2f} for ours/{task.name}",
        "holds": False,
        "why": f"ours/{task.name} has taken ε {once:.2f} of this year's 0.5; it is over for good.",
    }


def test_a_limit_is_made_stricter_without_a_question(newcomer: Person) -> None:
    for name, value, says in (
        ("minutes", "20", "minutes: 20 a day."),
        ("hours", "22:00-06:00", "hours: 22:00-06:00."),
        ("idle", "30", "idle: 30 min unused."),
        ("epsilon", "1.5", "epsilon: 1.5 a year and task."),
        ("memory", "64", "memory: 64 MiB."),
    ):
        done = newcomer.claw("limits", "set", name, value)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", f"{says} It holds from now on.\n")
    assert limits_of(newcomer) == LimitSettings(
        minutes_a_day=20, hours="22:00-06:00", idle_minutes=30, epsilon_a_year=1.5, memory_mib=64
    )
    assert shown(newcomer)["idle"]["limit"] == "30 min unused"


def test_loosening_is_a_deliberate_act(newcomer: Person) -> None:
    done = newcomer.claw("limits", "set", "charger", "off")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "more than it does by default (charger)" in done.stderr
    assert "--yes" in done.stderr
    assert limits_of(newcomer) == LimitSettings()
    done = newcomer.claw("limits", "set", "charger", "off", "--yes")
    assert done.stderr == "charger: off. It holds from now on.\n"
    assert limits_of(newcomer) == LimitSettings(charger=False)
    assert newcomer.claw("limits", "set", "charger", "on").returncode == 0
    assert limits_of(newcomer) == LimitSettings()


def test_at_a_terminal_the_person_is_asked(newcomer: Person) -> None:
    for answer, code, minutes in (("n", 1, 60), ("y", 0, 240)):
        terminal = newcomer.terminal("limits", "set", "minutes", "240")
        terminal.sees("That is more than learning takes by default. Set minutes to 240 a day? [y/N] ")
        terminal.types(answer)
        assert terminal.ends() == code
        assert limits_of(newcomer).minutes_a_day == minutes


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("batery", "off", "There is no limit 'batery'.\n      There are: charger, idle"),
        ("idle", "soon", "idle takes minutes without use, on or off, not 'soon'.\n      From 0 to 1,440."),
        ("hours", "08:00-08:00", "hours takes two times, such as 22:00-06:00, or off, not '08:00-08:00'."),
        ("upload", "off", "upload takes MiB a day, not 'off'."),
        ("epsilon", "nan", "epsilon takes ε a year and task, not 'nan'."),
    ],
)
def test_what_a_limit_does_not_take_is_refused_with_what_it_takes(
    newcomer: Person, name: str, value: str, says: str
) -> None:
    done = newcomer.claw("limits", "set", name, value, "--yes")
    assert done.returncode == 2
    assert says in done.stderr
    assert not newcomer.home.config_file.exists()


def test_the_help_names_every_limit(newcomer: Person) -> None:
    told = newcomer.claw("limits", "--help", COLUMNS="80").stdout
    assert all(f"\n  {name} " in told for name in CHOICES)
