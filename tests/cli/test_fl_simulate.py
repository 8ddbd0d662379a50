"""`claw fl simulate`: a plan is tried on data that lie here, and the vault isn't asked."""

import hashlib
import json
from pathlib import Path

import pytest

from skills.embedding.pins import WEIGHTS
from tests.fixtures.command import Person
from tests.fl_client.simulation.worlds import PLAN

ASKED = {
    "weather": "will it {} on {}",
    "time": "what time is it {} on {}",
    "music": "play a song about {} for {}",
    "light": "turn on the lamp {} until {}",
}
WORDS = ("rain", "snow", "sun", "fog", "wind", "hail", "storm", "frost")
DAYS = ("Monday", "Tuesday", "Friday", "Sunday")


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    file = tmp_path / "plan.toml"
    file.write_text(PLAN.replace("biases = false", 'biases = false\nstart = "names"\nstart_scale = 8.0'))
    return file


@pytest.fixture
def data(tmp_path: Path) -> Path:
    file = tmp_path / "requests.jsonl"
    lines = [
        {"input": text.format(word, day), "output": label, "meeting": f"{word} {day}"}
        for label, text in ASKED.items()
        for word in WORDS
        for day in DAYS
    ]
    file.write_text("\n".join(map(json.dumps, lines)))
    return file


def test_a_plan_is_tried_and_reported_and_the_vault_stays_as_it_was(
    person: Person, plan: Path, data: Path, tmp_path: Path
) -> None:
    report, vault = tmp_path / "tried.html", person.home.database.read_bytes()
    given = (str(plan), "--devices", "30", "--data", str(data), "--cores", "1")
    done = person.claw(
        "fl", "simulate", *given, "--partition", "by=meeting", "--rounds", "2", "--masked", "1", "--json",
        "-o", str(report),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [one["masked"] for one in told["rounds"]] == [True, False]
    assert 0 < told["epsilon"] <= 200
    assert told["bytes_sent"] > 20 * 2048
    page = report.read_text()
    assert "each device has examples of one meeting" in page
    assert (tmp_path / "tried.png").read_bytes().startswith(b"\x89PNG")
    assert person.home.database.read_bytes() == vault
    again = person.claw("fl", "simulate", *given, "--partition", "by=meeting", "-o", str(report))
    assert again.returncode == 2
    assert "exists already" in again.stderr
    assert report.read_text() == page


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"--partition": "iid"}, "no way to deal"),
        ({"--partition": "by=domain"}, "no text in a field 'domain'"),
        ({"--devices": "1000"}, "too few for 1,000 devices"),
        ({"--devices": "12"}, "A cohort of intents has 20 devices"),
        ({"--data": "nowhere.jsonl"}, "can't be read"),
    ],
)
def test_what_can_t_be_simulated_is_refused_and_leaves_nothing(
    person: Person, plan: Path, data: Path, tmp_path: Path, changed: dict[str, str], said: str
) -> None:
    given = {"--devices": "30", "--data": str(data), "--partition": "dirichlet(1)", "-o": str(tmp_path / "r.html")}
    words = [word for pair in (given | changed).items() for word in pair]
    done = person.claw("fl", "simulate", str(plan), "--cores", "1", *words)
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert not (tmp_path / "r.html").exists()


def test_devices_train_adapters_one_after_the_other(
    person: Person, tiny_model: Path, data: Path, tmp_path: Path
) -> None:
    assert person.claw("model", "import", str(tiny_model), "--name", "tiny").returncode == 0
    head = PLAN[PLAN.index("[training]") : PLAN.index("[privacy]")]
    adapter = """[training]
kind = "adapter"
parameterization = "ffa"
parameters = 256
rank = 4
learning_rate = 0.1
targets = ["attn_q"]
longest = 64
"""
    sha256 = hashlib.sha256(tiny_model.read_bytes()).hexdigest()
    plan, report = tmp_path / "adapter.toml", tmp_path / "tried.html"
    text = PLAN.replace(head, adapter).replace(WEIGHTS.sha256, sha256).replace("cohort = 20", "cohort = 5")
    plan.write_text(
        text.replace("epsilon = 200.0", "epsilon = 900.0").replace("[privacy]", "[privacy]\ncorrupt = 0.0")
    )
    given = (str(plan), "--devices", "5", "--data", str(data), "--rounds", "1", "--lost", "0")
    done = person.claw("fl", "simulate", *given, "--partition", "by=meeting", "--json", "-o", str(report))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["before"]["accuracy"] is None
    assert told["after"]["loss"] != told["before"]["loss"]
    assert told["devices"]["judged"] == 5
    mixed = person.claw("fl", "simulate", *given, "--partition", "dirichlet(1)", "-o", str(tmp_path / "other.html"))
    assert mixed.returncode == 1
    assert "by=meeting" in mixed.stderr
