"""One call of one program: what goes in and comes out, and that every limit ends it."""

import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest

from skills.errors import JobRefused
from skills.sandbox.bubblewrap import Bubblewrap
from skills.sandbox.channel import Channel
from skills.sandbox.job import PYTHON, Ended, Job, Limits, Outcome, Progress
from skills.sandbox.landlocked import Landlocked
from skills.sandbox.run import run
from skills.sandbox.walls import Running, Walls
from tests.skills.sandbox.test_escapes import outcome_as_nobody

TIERS: dict[str, type[Walls]] = {"bubblewrap": Bubblewrap, "landlock": Landlocked}
MIB = 1 << 20
USUAL = Limits()


@pytest.fixture(params=TIERS)
def walls(request: pytest.FixtureRequest) -> Walls:
    made = TIERS[request.param]()
    if why_not := made.why_not():
        pytest.skip(why_not)
    return made


@pytest.fixture
def bubblewrap() -> Walls:
    made = Bubblewrap()
    if why_not := made.why_not():
        pytest.skip(why_not)
    return made


def python(text: str, *outputs: str, stdin: bytes = b"", limits: Limits = USUAL, **inputs: bytes) -> Job:
    return Job((*PYTHON, "in/program.py"), {"program.py": text.encode(), **inputs}, outputs, stdin, limits=limits)


def told(outcome: Outcome) -> str:
    assert outcome.ok, outcome
    return outcome.stdout.decode()


# What goes in and comes out


def test_a_program_reads_what_goes_in_and_its_outputs_come_back(walls: Walls) -> None:
    outcome = run(
        python(
            "import sys\n"
            "words = open('in/words').read() + sys.stdin.read()\n"
            "open('out/upper', 'w').write(words.upper())\n"
            "print(len(words)); print('heard', file=sys.stderr)",
            *("upper", "never written"),
            stdin=b" and more",
            words=b"some words",
        ),
        walls,
    )
    assert outcome.outputs == {"upper": b"SOME WORDS AND MORE"}
    assert (outcome.stdout, outcome.stderr) == (b"19\n", b"heard\n")
    assert outcome.tier == walls.name


def test_inputs_may_lie_in_folders_and_a_script_finds_its_neighbours(walls: Walls) -> None:
    files = {"skill/scripts/main.py": b"import help\nprint(help.WORD)", "skill/scripts/help.py": b"WORD = 'found'"}
    assert told(run(Job((*PYTHON, "in/skill/scripts/main.py"), files), walls)) == "found\n"


def test_inputs_have_names_as_people_and_programs_give_them(walls: Walls) -> None:
    names = ["__init__.py", "-x", ".hidden", "two words", "naïve/日本語.txt", "#1 [draft] *?", "$(id)", "ä" * 127]
    text = (
        "import os; print(sorted(os.path.join(at, name)[3:] for at, _, names in os.walk('in') for name in names))"
    )
    job = Job((*PYTHON, "-c", text), dict.fromkeys(names, b""))
    assert told(run(job, walls)) == f"{sorted(names)}\n"


def test_a_program_of_the_system_runs(walls: Walls) -> None:
    assert told(run(Job(("cat", "in/file"), {"file": b"its text"}), walls)) == "its text"


def test_text_of_python_runs(walls: Walls) -> None:
    assert told(run(Job((*PYTHON, "-c", "print(6 * 7)")), walls)) == "42\n"


def test_an_output_that_it_says_is_whole_is_read_while_it_goes_on(walls: Walls) -> None:
    text = (
        "import os, time\n"
        "def say(line): os.write(int(os.environ['CLAW_PROGRESS']), line + b'\\n')\n"
        "open('out/first', 'w').write('whole')\n"
        'say(b\'{"written": "first"}\')\n'
        'say(b\'{"written": "../first"}\')\n'
        'say(b\'{"written": "second"}\')\n'
        "while True: time.sleep(1)\n"
    )
    stop, read = threading.Event(), dict[str, bytes]()

    def written(name: str, data: bytes) -> None:
        read[name] = data
        if name == "second":
            stop.set()

    outcome = run(python(text, "first", "second"), walls, on_written=written, stop=stop)
    assert outcome.ended is Ended.STOPPED
    assert read == {"first": b"whole", "second": b""}


def test_an_error_is_its_exit_status_and_what_it_said(walls: Walls) -> None:
    outcome = run(python("raise SystemExit(3)"), walls)
    assert (outcome.ended, outcome.status, outcome.ok) == (Ended.EXITED, 3, False)
    outcome = run(python("1 / 0"), walls)
    assert b"ZeroDivisionError" in outcome.stderr


def test_a_program_that_does_not_exist_is_an_outcome_like_any_other(walls: Walls) -> None:
    outcome = run(Job(("no-such-program",)), walls)
    assert not outcome.ok
    assert b"no-such-program" in outcome.stderr


def test_its_environment_holds_nothing_of_ours(walls: Walls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "canary")
    names = told(run(python("import os; print(*sorted(os.environ))"), walls)).split()
    assert set(names) <= {"PATH", "LANG", "HOME", "CLAW_PROGRESS", "PWD", "LC_CTYPE", "LD_LIBRARY_PATH"}


def test_a_python_program_runs_in_the_very_python_that_runs_us(walls: Walls) -> None:
    assert told(run(python("import sys, ssl; print(sys.version)"), walls)) == f"{sys.version}\n"


def test_nothing_it_writes_is_there_for_the_next(bubblewrap: Walls) -> None:
    text = "import os; print(os.listdir('/tmp')); open('/tmp/left', 'w').write('x')"
    assert [told(run(python(text), bubblewrap)) for _ in range(2)] == ["[]\n", "[]\n"]


def test_what_is_named_of_ours_can_be_read_and_not_written(walls: Walls, tmp_path: Path) -> None:
    shown, hidden = tmp_path / "shown", tmp_path / "hidden"
    for folder in (shown, hidden):
        folder.mkdir()
        (folder / "file").write_text(folder.name)
    job = python(
        f"print(open('{shown}/file').read())\n"
        f"for path, mode in (('{hidden}/file', 'r'), ('{shown}/file', 'a'), ('{shown}/new', 'w')):\n"
        "    try: open(path, mode); print('opened', path)\n"
        "    except OSError: pass"
    )
    assert told(run(msgspec.structs.replace(job, read_only=(shown,)), walls)) == "shown\n"
    assert [file.name for file in shown.iterdir()] == ["file"]


def test_addresses_beside_memory_can_be_taken_and_no_more_than_those(walls: Walls) -> None:
    text = "import mmap; mmap.mmap(-1, 700 << 20); print('taken')"
    limits = Limits(memory=256 * MIB, addresses=1024 * MIB)
    assert told(run(python(text, limits=limits), walls)) == "taken\n"
    assert not run(python(text, limits=Limits(memory=256 * MIB)), walls).ok


@pytest.mark.parametrize(
    "line",
    [
        "b'{\"x\": ' + b'[' * 4000",
        "b'{\"done\": 1' + b'0' * 330 + b', \"total\": 2}'",
        'b\'{"done": -1, "total": 2}\'',
        'b\'{"done": 1, "total": 9007199254740994}\'',
    ],
)
def test_progress_that_nobody_could_show_is_passed_over(walls: Walls, line: str) -> None:
    heard: list[Progress] = []
    text = (
        "import os\n"
        "def say(line): os.write(int(os.environ['CLAW_PROGRESS']), line + b'\\n')\n"
        f"say({line})\n"
        'say(b\'{"done": 1, "total": 2}\')\n'
    )
    assert run(python(text), walls, on_progress=heard.append).ok
    assert heard == [Progress(1, 2)]


def test_progress_is_heard_while_it_runs_and_what_is_none_is_passed_over(walls: Walls) -> None:
    heard: list[Progress] = []
    job = python(
        "import os\n"
        "def say(line): os.write(int(os.environ['CLAW_PROGRESS']), line + b'\\n')\n"
        'say(b\'{"done": 1, "total": 2, "note": "half"}\')\n'
        "say(b'not json'); say(b'{\"done\": \"many\"}'); say(bytes([255, 254]))\n"
        'say(b\'{"done": 2, "total": 2, "note": "\\\\u001b]52;c;x\\\\u0007 done"}\')'
    )
    assert run(job, walls, on_progress=heard.append).ok
    assert heard[0] == Progress(1, 2, "half")
    assert len(heard) == 2
    assert "\x1b" not in heard[1].note


@pytest.mark.parametrize(
    "job",
    [
        Job(()),
        Job(("a\0b",)),
        Job(("cat",), {"../outside": b""}),
        Job(("cat",), {"/etc/passwd": b""}),
        Job(("cat",), {"a": b"", "a/b": b""}),
        Job(("cat",), {"a\nb": b""}),
        Job(("cat",), {"": b""}),
        Job(("cat",), {"a//b": b""}),
        Job(("cat",), {"a/./b": b""}),
        Job(("cat",), {"a\\b": b""}),
        Job(("cat",), {"a\u202eb": b""}),
        Job(("cat",), {"a\udcffb": b""}),
        Job(("cat",), {"ä" * 128: b""}),
        Job(("cat",), {}, ("a/b",)),
        Job(("cat",), {}, ("twice", "twice")),
        Job(("cat",), {}, ("..",)),
        Job(("cat",), {str(number): b"" for number in range(1001)}),
        Job(("cat",), read_only=(Path("relative"),)),
    ],
)
def test_a_job_that_names_what_it_cannot_is_refused(walls: Walls, job: Job) -> None:
    with pytest.raises(JobRefused):
        run(job, walls)


# Limits


def test_it_is_stopped_at_once(walls: Walls) -> None:
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    began = time.monotonic()
    outcome = run(python("import time; print('begun', flush=True); time.sleep(60)"), walls, stop=stop)
    assert outcome.ended is Ended.STOPPED
    assert time.monotonic() - began < 30
    assert outcome.stdout in (b"", b"begun\n")


def test_it_is_ended_when_it_takes_too_long_also_if_it_will_not_be(walls: Walls) -> None:
    text = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(1)"
    outcome = run(python(text, limits=Limits(wall_s=1.0)), walls)
    assert outcome.ended is Ended.WALL
    assert outcome.status == -signal.SIGKILL


def test_computing_has_an_end(walls: Walls) -> None:
    outcome = run(python("while True: pass", limits=Limits(cpu_s=1)), walls)
    assert outcome.ended is Ended.KILLED
    assert outcome.wall_s < 29


def test_memory_has_an_end(walls: Walls) -> None:
    text = "try: bytearray(1 << 30); print('had')\nexcept MemoryError: print('refused')"
    assert told(run(python(text, limits=Limits(memory=256 * MIB)), walls)) == "refused\n"


def test_what_takes_more_than_it_may_is_ended_also_where_the_kernel_does_not_see_to_that(walls: Walls) -> None:
    class Watched:
        name = walls.name

        def why_not(self) -> str:
            return walls.why_not()

        def start(self, job: Job, channel: Channel) -> Running:
            return walls.start(job, channel)._replace(exceeds=lambda: True)

    outcome = run(python("import time; time.sleep(600)"), Watched())
    assert (outcome.ended, outcome.status) == (Ended.KILLED, -signal.SIGKILL)


@pytest.mark.parametrize(
    "text", ["print('to its end')", "import time; print('to its end', flush=True); time.sleep(600)"]
)
def test_the_end_is_heard_also_where_only_a_thread_can_wait_for_it(
    walls: Walls, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from skills.sandbox import run as module
    from skills.sandbox.ending import end_by_thread

    monkeypatch.setattr(module, "end_of", end_by_thread)
    outcome = run(python(text, limits=Limits(wall_s=3.0)), walls)
    assert outcome.stdout == b"to its end\n"
    assert outcome.ended is (Ended.WALL if "sleep" in text else Ended.EXITED)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_what_it_says_has_an_end(walls: Walls, stream: str) -> None:
    text = f"import sys\nwhile True: sys.{stream}.write('x' * 65536)"
    outcome = run(python(text, limits=Limits(stream=MIB)), walls)
    assert outcome.ended is Ended.OVERRAN
    assert len(getattr(outcome, stream)) == MIB


def test_progress_without_an_end_of_its_line_is_ended(walls: Walls) -> None:
    text = "import os\nwhile True: os.write(int(os.environ['CLAW_PROGRESS']), b'x' * 65536)"
    assert run(python(text), walls).ended is Ended.OVERRAN


def test_an_output_has_an_end(walls: Walls) -> None:
    text = "out = open('out/big', 'wb')\nfor _ in range(64): out.write(bytes(1 << 20)); out.flush()"
    outcome = run(python(text, "big", limits=Limits(file_bytes=4 * MIB)), walls)
    assert not outcome.ok
    assert len(outcome.outputs["big"]) <= 4 * MIB


def test_files_of_its_own_have_an_end(bubblewrap: Walls) -> None:
    text = (
        "import errno\n"
        "try:\n"
        "    for number in range(100): open(f'/tmp/{number}', 'wb').write(bytes(1 << 20))\n"
        "except OSError as error: print(errno.errorcode[error.errno])"
    )
    assert told(run(python(text, limits=Limits(scratch=8 * MIB)), bubblewrap)) == "ENOSPC\n"


FILES = """
import os, time
for number in range({}): os.close(os.open(f"/tmp/{{number}}", os.O_CREAT | os.O_WRONLY))
print("made", flush=True)
time.sleep({})
"""


def test_empty_files_of_its_own_have_an_end_too(bubblewrap: Walls) -> None:
    limits = Limits(scratch=8 * MIB)
    assert told(run(python(FILES.format(8_000, 0.2), limits=limits), bubblewrap)) == "made\n"
    outcome = run(python(FILES.format(9_000, 600), limits=limits), bubblewrap)
    assert (outcome.ended, outcome.status) == (Ended.KILLED, -signal.SIGKILL)


def test_empty_files_have_an_end_also_when_an_unprivileged_person_runs_it(bubblewrap: Walls) -> None:
    outcome = outcome_as_nobody(bubblewrap.name, FILES.format(66_000, 600))
    assert (outcome.ended, outcome.status) == (Ended.KILLED, -signal.SIGKILL)


def test_without_room_of_its_own_it_writes_nowhere(bubblewrap: Walls) -> None:
    text = (
        "import os\n"
        "for folder in ('/', '/tmp', '/in', '/out', '/dev', '/dev/shm', '/proc', '/usr'):\n"
        "    try: open(folder + '/new', 'w'); print(folder)\n"
        "    except OSError: pass"
    )
    assert told(run(python(text, limits=Limits(scratch=0)), bubblewrap)) == ""


def test_it_starts_no_other_process_unless_that_was_asked_for(walls: Walls) -> None:
    text = "import os\ntry: os.fork(); print('forked')\nexcept OSError: print('refused')"
    assert told(run(python(text), walls)) == "refused\n"


def test_threads_are_no_processes(walls: Walls) -> None:
    text = "import threading\nt = threading.Thread(target=lambda: print('ran')); t.start(); t.join()"
    assert told(run(python(text), walls)) == "ran\n"


def test_threads_may_be_started_however_many_the_person_runs_and_have_an_end(walls: Walls) -> None:
    text = (
        "import _thread, time\n"
        "_thread.stack_size(1 << 16)\n"
        "started = 0\n"
        "try:\n"
        "    for _ in range(100_000):\n"
        "        _thread.start_new_thread(time.sleep, (600,)); started += 1\n"
        "except RuntimeError: pass\n"
        "import os; print(started, flush=True); os._exit(0)"
    )
    outcome = outcome_as_nobody(walls.name, text)
    assert outcome.ok, outcome
    on_the_machine = int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])
    assert 60 <= int(outcome.stdout) < on_the_machine + 1_000


def test_where_that_was_asked_for_it_starts_some_and_no_more(bubblewrap: Walls) -> None:
    text = (
        "import os, time\n"
        "started = 0\n"
        "for _ in range(300):\n"
        "    try: pid = os.fork()\n"
        "    except OSError: break\n"
        "    if not pid: time.sleep(30); os._exit(0)\n"
        "    started += 1\n"
        "print(started)"
    )
    outcome = run(python(text, limits=Limits(processes=20, memory=1 << 30)), bubblewrap)
    assert 10 < int(told(outcome)) < 100


def test_nothing_of_it_lives_on(bubblewrap: Walls) -> None:
    text = (
        "import os, time\n"
        "if not os.fork():\n"
        "    os.setsid()\n"
        "    if not os.fork():\n"
        "        while True: time.sleep(1)\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        "print('left one behind')"
    )
    mark = "in/program.py"
    assert told(run(python(text, limits=Limits(processes=4)), bubblewrap)) == "left one behind\n"
    assert not [pid for pid in os.listdir("/proc") if pid.isdigit() and mark in command_line(pid)]


def test_a_job_that_is_given_up_while_it_starts_does_not_run(
    bubblewrap: Walls, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object) -> None:
        raise OSError("no limits can be set")

    mark = f"given up {os.getpid()}"
    job = Job((*PYTHON, "-c", "import time; time.sleep(60)", mark))
    with monkeypatch.context() as patch:
        patch.setattr(resource, "prlimit", refuses)
        for _ in range(5):
            with pytest.raises(OSError, match="no limits"):
                run(job, bubblewrap)
    stop = threading.Event()
    stop.set()
    for _ in range(5):
        assert run(job, bubblewrap, stop=stop).ended is Ended.STOPPED
    # Whoever is killed is listed until it was waited for, by a process that isn't ours.
    until = time.monotonic() + 10
    while left := [pid for pid in os.listdir("/proc") if pid.isdigit() and mark in command_line(pid)]:
        assert time.monotonic() < until, left


def command_line(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def test_more_than_one_process_needs_bubblewrap() -> None:
    landlocked = Landlocked()
    if why_not := landlocked.why_not():
        pytest.skip(why_not)
    with pytest.raises(JobRefused, match="more than one process"):
        run(python("", limits=Limits(processes=2)), landlocked)


def test_nothing_is_left_behind(walls: Walls) -> None:
    def held() -> tuple[int, list[Path], int]:
        return (
            len(os.listdir("/proc/self/fd")),
            sorted(Path("/dev/shm").glob("claw-run-*")),
            threading.active_count(),
        )

    before = held()
    for _ in range(3):
        run(python("print(1)", "a", "b", words=b"x"), walls)
        with pytest.raises(JobRefused):
            run(Job(()), walls)
    assert held() == before
