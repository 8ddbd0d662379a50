"""Programs behind walls: what they are given, what comes back, and how they end."""

import threading
from typing import Any

import msgspec
import pytest

from skills.errors import ToolFailed
from skills.library import Skill
from skills.sandbox.tiers import best
from skills.skill_file import SkillFile, parse
from skills.tools.activation import Activation
from skills.tools.programs import python_tool, script_tool
from skills.tools.tool import Plan, Running, Tool
from vault.skill_store import SkillRecord

RUNNING = Running(threading.Event())
SKILL_MD = b"---\nname: count\ndescription: Counts.\n---\nCount.\n"
COUNT = b"import sys\nprint(len(sys.stdin.read()), sys.argv[1:], open('in/count/assets/x').read())\n"


def skill(**files: bytes) -> Skill:
    read, problems = parse(SKILL_MD, "count")
    assert isinstance(read, SkillFile), problems
    named = {"SKILL.md": SKILL_MD, "scripts/count.py": COUNT, "assets/x": b"an asset", **files}
    return Skill(SkillRecord("count", "ab" * 32, "here", 0, True), read, named)


def its_scripts() -> Tool[Any]:
    return script_tool(Activation([], lambda _name: skill(), skill()), best)


def plan(tool: Tool[Any], **arguments: object) -> Plan:
    given = tool.read(msgspec.json.encode(arguments))
    made = tool.plan(given, tool.about(given))
    assert isinstance(made, Plan)
    return made


def test_a_script_sees_its_skills_files_its_arguments_and_its_input() -> None:
    made = plan(
        its_scripts(),
        script="scripts/count.py",
        arguments=["a", "b"],
        stdin="four",
    )
    assert made.work(RUNNING) == "4 ['a', 'b'] an asset"
    assert "'a' 'b'" in made.details
    assert "four" in made.details


def test_a_script_runs_beside_files_of_any_name_that_can_be_imported() -> None:
    beside = {"scripts/__init__.py": b"", "scripts/_more.py": b"WORD = 'found'\n", "references/straße 1.md": b""}
    made = skill(**beside, **{"scripts/naïve.py": b"import _more\nprint(_more.WORD)\n"})
    tool = script_tool(Activation([], lambda _name: made, made), best)
    assert plan(tool, script="scripts/naïve.py").work(RUNNING) == "found"


@pytest.mark.parametrize("name", ["SKILL.md", "scripts/none.py", "../x.py", "assets/x", "/etc/passwd", ""])
def test_only_a_script_of_the_skill_is_run(name: str) -> None:
    with pytest.raises(ToolFailed, match="has no script"):
        plan(its_scripts(), script=name)


def test_arguments_that_cant_be_shown_arent_given() -> None:
    with pytest.raises(ToolFailed):
        plan(
            its_scripts(),
            script="scripts/count.py",
            arguments=["a\x1b[8mb"],
        )


def test_a_program_that_fails_says_why_and_harmlessly() -> None:
    with pytest.raises(ToolFailed) as caught:
        plan(python_tool(best), program="import sys; sys.exit('\\x1b]0;no\\x07' * 3)").work(RUNNING)
    assert "status 1" in caught.value.message
    assert "\x1b" not in caught.value.message


def test_a_program_that_is_stopped_ends() -> None:
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    with pytest.raises(ToolFailed, match="was stopped"):
        plan(python_tool(best), program="while True: pass").work(Running(stop))


def test_a_program_that_says_too_much_is_cut() -> None:
    said = plan(python_tool(best), program="print('x' * 50_000)").work(RUNNING)
    assert len(said) < 9_000
    assert "more characters" in said


def test_a_program_with_invisible_characters_isnt_run() -> None:
    for program in ("print(1)\u202e", "print('\x1b')"):
        with pytest.raises(ToolFailed, match="invisible"):
            plan(python_tool(best), program=program)


def test_a_program_has_no_network_no_files_and_no_environment() -> None:
    program = (
        "import os, socket\n"
        "out = []\n"
        "for attempt in (lambda: socket.create_connection(('127.0.0.1', 1)), lambda: open('/etc/passwd').read(),\n"
        "                lambda: os.listdir(os.path.expanduser('~root')), os.fork):\n"
        "    try: attempt(); out.append('got through')\n"
        "    except OSError as e: out.append('no')\n"
        "ours = {'PATH', 'HOME', 'LC_CTYPE', 'PWD', 'TMPDIR', 'LANG', 'CLAW_PROGRESS', 'LD_LIBRARY_PATH'}\n"
        "print(out, sorted(set(os.environ) - ours))\n"
    )
    said = plan(python_tool(best), program=program).work(RUNNING)
    assert "got through" not in said
    assert said.endswith("[]")


def test_what_a_script_is_called_with_stands_in_no_list_of_processes() -> None:
    look = b"import sys; print(open('/proc/self/cmdline').read().replace(chr(0), ' '), sys.argv[1:], sys.path[0])\n"
    tool = script_tool(
        Activation([], lambda _name: skill(**{"scripts/look.py": look}), skill(**{"scripts/look.py": look})), best
    )
    said = plan(tool, script="scripts/look.py", arguments=["CANARY"]).work(RUNNING)
    assert "CANARY" not in said.split(" [")[0]
    assert said.endswith("['CANARY'] in/count/scripts")


def test_a_program_that_nobody_would_look_through_isnt_run() -> None:
    for program in ("x = 1\n" * 200, "#" + "x" * 20_000):
        with pytest.raises(ToolFailed, match="may have"):
            plan(python_tool(best), program=program)
