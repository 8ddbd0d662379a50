"""Chatting: our path beside llama-cpp-python's high-level API and the `llm` command, on the same weights.

Same GGUF, prompts, seeds and threads, in one run, in turns. Decode speed is (n-1) tokens over the time from the
first to the last. Time to first token is measured where a person would: from the call that says something (vault
writes included) to the first text back. "New tokens alone" is llama.cpp's own time for evaluating that many tokens
at that position, and nothing else.
"""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from agent.assistant import Assistant, Text, TurnEnd
from agent.inference import Inference
from agent.models.catalogue import Catalogue
from agent.models.embedded import EMBEDDED_NAME
from agent.worker.protocol import Sampling
from benchmarks.harness import Bench, keychain_session, median, peak_memory, run_timed, scratch
from vault.home import Home
from vault.passphrase import KdfCost
from vault.settings import AssistantSettings, InferenceSettings, Settings
from vault.store import Vault

THREADS = 2
DECODE_TOKENS = 128
TURN_TOKENS = 96
ASK_TOKENS = 32
STORY = "Write a long story about a ship, its captain, and the sea."
QUESTIONS = [
    "I am planning a walk in the mountains. What should I take with me?",
    "It may rain in the afternoon. What would you change in that list?",
    "How early should we leave if the walk takes about seven hours?",
    "My friend walks slowly and wants to rest often. How do I plan that?",
    "Which food keeps well in a rucksack for a whole day in summer?",
    "Sum up the plan for us in three short sentences, please.",
]
GREEDY = Sampling(
    temperature=0, top_k=0, top_p=1, min_p=0, repeat_penalty=1, repeat_last_n=0, seed=1, max_tokens=DECODE_TOKENS
)


def main() -> int:
    """Run all of it."""
    bench = Bench("chat")
    with scratch() as folder:
        home = Home.locate({"CLAW_HOME": f"{folder}/home"})
        with Catalogue(home, None).open_verified(EMBEDDED_NAME) as weights:
            model_path = weights.path
        _decode_speed(bench, home, model_path)
        _growing_conversation(bench, home, model_path)
        _one_ask(bench, Path(folder))
        _help(bench)
    return bench.finish()


def _settings() -> Settings:
    return Settings(
        inference=InferenceSettings(threads=THREADS),
        # What the model's own template says when there is no system message, so that all paths see one prompt.
        assistant=AssistantSettings(system="You are a helpful AI assistant named SmolLM, trained by Hugging Face"),
    )


class _Ours:
    """Our path: vault, assistant, worker."""

    def __init__(self, home: Home) -> None:
        settings = _settings()
        cheap = KdfCost(memory_kib=64, iterations=1, lanes=1)
        self.vault = Vault.create(home, "benchmark passphrase", cost=cheap)
        with Catalogue(home, self.vault.models).open_verified(EMBEDDED_NAME) as weights:
            self.inference = Inference(weights, settings.inference)
            self.assistant = Assistant(self.vault.conversations, self.inference, weights.record, settings)
        self.inference.ready()
        self.session = self.assistant.start_session("benchmark")

    def say(self, text: str, max_tokens: int) -> tuple[float, TurnEnd]:
        """One turn; seconds to the first text, and its end."""
        started = time.perf_counter()
        first = 0.0
        sampling = Sampling(
            **{f: getattr(GREEDY, f) for f in GREEDY.__struct_fields__} | {"max_tokens": max_tokens}
        )
        for event in self.assistant.reply(self.session, text, sampling=sampling):
            if isinstance(event, Text) and not first:
                first = time.perf_counter() - started
            if isinstance(event, TurnEnd):
                return first, event
        raise AssertionError("a turn ends")

    def close(self) -> None:
        self.inference.close()
        self.vault.close()


class _HighLevel:
    """llama-cpp-python's `create_chat_completion`, streaming, on the same file and threads."""

    def __init__(self, model_path: Path) -> None:
        from llama_cpp import Llama

        self.model: Any = Llama(
            str(model_path), n_ctx=8192, n_threads=THREADS, n_threads_batch=THREADS, seed=1, verbose=False
        )
        self.messages: list[dict[str, str]] = []

    def say(self, text: str, max_tokens: int) -> tuple[float, float, str]:
        """One turn; seconds to the first text, tokens a second after it, and the text."""
        self.messages.append({"role": "user", "content": text})
        started = time.perf_counter()
        stamps, parts = [], []
        for chunk in self.model.create_chat_completion(
            self.messages,
            temperature=0,
            top_k=0,
            top_p=1,
            min_p=0,
            repeat_penalty=1,
            max_tokens=max_tokens,
            stream=True,
        ):
            part = chunk["choices"][0]["delta"].get("content")
            if part is not None:
                stamps.append(time.perf_counter())
                parts.append(part)
        self.messages.append({"role": "assistant", "content": "".join(parts)})
        return stamps[0] - started, (len(stamps) - 1) / (stamps[-1] - stamps[0]), "".join(parts)


def _decode_speed(bench: Bench, home: Home, model_path: Path) -> None:
    rounds = 3 if bench.quick else 9
    bench.say(f"decode speed: {rounds} rounds of {DECODE_TOKENS} tokens, in turns")
    ours, theirs = _Ours(Home.locate({"CLAW_HOME": f"{home.data}-decode"})), _HighLevel(model_path)
    our_speeds, their_speeds, same = [], [], 0
    for number in range(rounds + 1):
        ours.session = ours.assistant.start_session("decode")
        theirs.messages = []
        theirs.model.reset()
        _, end = ours.say(STORY, DECODE_TOKENS)
        _, speed, text = theirs.say(STORY, DECODE_TOKENS)
        if number:  # the first round warms both up
            our_speeds.append(end.generation.tokens_per_second or 0)
            their_speeds.append(speed)
            same += end.message.text == text
    ours.close()
    bench.figure("decode_tokens_per_s", "decode, ours", median(our_speeds), "tok/s")
    bench.figure("decode_tokens_per_s_high_level", "decode, create_chat_completion", median(their_speeds), "tok/s")
    ratios = [a / b for a, b in zip(our_speeds, their_speeds, strict=True)]
    bench.figure("decode_ratio", "decode, ours / theirs (median of pairs)", median(ratios), "x", (">=", 1.15))
    bench.note("the same 128 tokens", f"in {same} of {rounds} rounds")


def _growing_conversation(bench: Bench, home: Home, model_path: Path) -> None:
    rounds = 1 if bench.quick else 5
    bench.say(f"a conversation of {len(QUESTIONS)} turns, {rounds} times, in turns")
    alone = _NewTokensAlone(model_path)
    our_times: list[list[float]] = [[] for _ in QUESTIONS]
    their_times: list[list[float]] = [[] for _ in QUESTIONS]
    reference: list[list[float]] = [[] for _ in QUESTIONS]
    ours = _Ours(Home.locate({"CLAW_HOME": f"{home.data}-turns"}))
    theirs = _HighLevel(model_path)
    for _ in range(rounds):
        ours.session = ours.assistant.start_session("turns")
        theirs.messages = []
        theirs.model.reset()
        for turn, question in enumerate(QUESTIONS):
            first, end = ours.say(question, TURN_TOKENS)
            made = end.generation
            our_times[turn].append(first)
            reference[turn].append(alone.measure(made.cached_tokens, made.prompt_tokens - made.cached_tokens))
            their_times[turn].append(theirs.say(question, TURN_TOKENS)[0])
    ours.close()
    worst = 0.0
    for turn in range(len(QUESTIONS)):
        mine, new, high = (median(times[turn]) for times in (our_times, reference, their_times))
        bench.note(
            f"first token, turn {turn + 1}",
            f"ours {mine * 1000:6.0f} ms   new tokens alone {new * 1000:6.0f} ms ({mine / new:.2f}x)   "
            f"create_chat_completion {high * 1000:6.0f} ms",
        )
        bench.figure(f"first_token_ms_turn_{turn + 1}", f"  turn {turn + 1}, ours", mine * 1000, "ms")
        bench.figure(f"first_token_ms_turn_{turn + 1}_high_level", f"  turn {turn + 1}, theirs", high * 1000, "ms")
        if turn:
            worst = max(worst, mine / new)
    bench.figure(
        "first_token_ratio_worst", "first token / new tokens alone, worst of turns 2-6", worst, "x", ("<=", 1.3)
    )


class _NewTokensAlone:
    """llama.cpp itself: the time to evaluate n tokens after p that are in the cache (whichever they are)."""

    def __init__(self, model_path: Path) -> None:
        from llama_cpp import Llama

        self._model: Any = Llama(
            # With flash attention, as llama.cpp chooses for us: the same evaluation, and nothing around it.
            str(model_path),
            n_ctx=2048,
            n_threads=THREADS,
            n_threads_batch=THREADS,
            flash_attn=True,
            verbose=False,
        )

    def measure(self, cached: int, new: int) -> float:
        """Seconds; the median of five evaluations."""
        import llama_cpp

        context = self._model.ctx
        memory = llama_cpp.llama_get_memory(context)
        llama_cpp.llama_memory_clear(memory, True)

        def evaluate(count: int) -> float:
            for start in range(0, count, 512):
                tokens = [1000 + number % 500 for number in range(min(512, count - start))]
                batch = (llama_cpp.llama_token * len(tokens))(*tokens)
                started = time.perf_counter()
                assert llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(batch, len(tokens))) == 0
                llama_cpp.llama_synchronize(context)
            return time.perf_counter() - started

        if cached:
            evaluate(cached)
        times = []
        for _ in range(5):
            llama_cpp.llama_memory_seq_rm(memory, 0, cached, -1)
            times.append(evaluate(new))
        return median(times)


_LLM = """
import sys, llama_cpp
threads, limit = int(sys.argv.pop(1)), int(sys.argv.pop(1))
made, asked = llama_cpp.Llama.__init__, llama_cpp.Llama.create_chat_completion
def make(self, *a, **k):
    made(self, *a, **(k | ({"n_threads": threads, "n_threads_batch": threads} if threads else {})))
llama_cpp.Llama.__init__ = make
llama_cpp.Llama.create_chat_completion = lambda self, *a, **k: asked(self, *a, **(k | {"max_tokens": limit}))
from llm.cli import cli
cli()
"""


def _one_ask(bench: Bench, folder: Path) -> None:
    """One cold question, the whole process. The llm plugin can't limit a reply, so a wrapper does it for it."""
    rounds = 3 if bench.quick else 11
    bench.say(f"one cold question of {ASK_TOKENS} tokens: {rounds} rounds, in turns")
    claw = str(Path(sys.executable).with_name("claw"))
    with keychain_session(folder) as keychain:
        environment = dict(keychain or {"PATH": os.environ["PATH"], "HOME": str(folder)})
        environment |= {"CLAW_HOME": str(folder / "ask"), "LLM_USER_PATH": str(folder / "llm")}
        secret = folder / "passphrase"
        secret.touch(mode=0o600)
        secret.write_text("benchmark passphrase\n")
        subprocess.run(
            [claw, "--passphrase-file", str(secret), "vault", "init"],
            env=environment,
            check=True,
            capture_output=True,
        )
        if keychain is None:
            bench.note("keychain", "missing here (gnome-keyring, dbus): the vault is opened by its passphrase")
            environment["CLAW_PASSPHRASE_FILE"] = str(secret)
        ours = [claw, "ask", "--max-tokens", str(ASK_TOKENS), STORY]
        commands = {
            "ours": ours,
            "llm": [sys.executable, "-c", _LLM, "0", str(ASK_TOKENS), "-m", "SmolLM2", STORY],
            "llm_2_threads": [sys.executable, "-c", _LLM, str(THREADS), str(ASK_TOKENS), "-m", "SmolLM2", STORY],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for number in range(rounds + 1):
            for name, command in commands.items():
                wall, text = run_timed(command, environment)
                assert text.strip(), name
                if number:
                    times[name].append(wall)
        walls = {name: median(values) for name, values in times.items()}
        bench.figure("ask_s", "one cold ask, ours", walls["ours"], "s")
        bench.figure("ask_s_llm", "one cold ask, llm as shipped (1 thread)", walls["llm"], "s")
        bench.figure("ask_s_llm_2_threads", "one cold ask, llm with 2 threads", walls["llm_2_threads"], "s")
        best = min(walls["llm"], walls["llm_2_threads"])
        bench.figure("ask_ratio", "one cold ask, ours / the faster llm", walls["ours"] / best, "x", ("<=", 1.0))
        bench.figure(
            "ask_memory_mib", "memory of one ask, ours, both processes", peak_memory(ours, environment), "MiB"
        )
        bench.figure(
            "ask_memory_mib_llm", "memory of one ask, llm", peak_memory(commands["llm"], environment), "MiB"
        )


def _help(bench: Bench) -> None:
    claw = str(Path(sys.executable).with_name("claw"))
    times = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([claw, "--help"], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    bench.figure("help_cpu_s", "claw --help, CPU", median(times), "s", ("<=", 0.25))


if __name__ == "__main__":
    raise SystemExit(main())
