"""The model and its cache: evaluates a prompt from where the cache stops fitting, then generates token by token."""

import array
import ctypes
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from agent.worker.binding import abort_when_set, last_error, llama, open_stream
from agent.worker.grammar import CALL_BEGINS, grammar_of, grammar_of_calls
from agent.worker.lora import AdapterFailed, finite, load_adapter, put_on
from agent.worker.protocol import (
    ChatMessage,
    Evaluated,
    Finished,
    Generate,
    OfferedTool,
    Overflow,
    Ready,
    Reply,
    Setup,
    ToolForm,
)
from agent.worker.run import Run
from agent.worker.sampling import build_chain
from agent.worker.template import ChatTemplate, TemplateFailed
from agent.worker.vocabulary import Vocabulary

__all__ = ["WORKING_MEMORY", "Engine", "LoadFailed", "OutOfMemory"]

_BATCH = 512
_TOKEN_BYTES = 4
_FIRST_WINDOW = 1024
_SMALLEST_WINDOW = 512
WORKING_MEMORY = 160 * 2**20
"""Bytes of the interpreter, llama.cpp's compute buffers and the vocabulary, measured."""

_DECODED, _ABORTED = 0, 2


class LoadFailed(Exception):
    """llama.cpp can't load the file; the text is its reason."""


class OutOfMemory(Exception):
    """There isn't enough memory for the context window that is needed."""


class Engine:
    """One loaded model.

    The key-value cache starts small and grows by doubling up to the window that was asked for, so that a short
    question doesn't pay, in memory and in time, for a long conversation's window.

    Args:
        setup: What to load.
        gpu: Whether layers go to a GPU.

    Raises:
        LoadFailed: the file is no model that this build of llama.cpp can load.
        OutOfMemory: not even a small context window fits.
    """

    def __init__(self, setup: Setup, gpu: bool) -> None:
        started = time.perf_counter()
        self._setup = setup
        self.stop_flag = (ctypes.c_char * 2)()
        llama.llama_backend_init()
        parameters = llama.llama_model_default_params()
        parameters.n_gpu_layers = setup.gpu_layers
        last_error()
        self._model = llama.llama_model_load_from_file_ptr(open_stream(setup.model), parameters)
        if not self._model:
            raise LoadFailed(last_error() or "llama.cpp gives no reason")
        self._window = self._choose_window()
        self.vocabulary = Vocabulary(self._model)
        self._templates: dict[bytes | None, ChatTemplate] = {}
        self._context: Any = None
        self._adapter: Any = None
        self._room = 0
        self._cached: list[int] = []
        self._one = (llama.llama_token * 1)()
        self._make_room(min(_FIRST_WINDOW, self._window))
        self._gpu = gpu
        self._load_s = time.perf_counter() - started

    def ready(self, confinement: str) -> Ready:
        """What to tell the parent.

        Args:
            confinement: How this process is confined.
        """
        return Ready(
            context=self._window,
            confinement=confinement,
            gpu=self._gpu,
            load_s=self._load_s,
            tool_form=self._tool_form(),
        )

    def warm_up(self) -> None:
        """Use the model once, so that a GPU's driver has loaded all it will need."""
        for count in (8, 1):
            self._evaluate_batch((llama.llama_token * count)(), count)
        self._forget_from(0)

    def count(self, text: str) -> int:
        """How many tokens a text is."""
        return len(self.vocabulary.tokenize(text, control=False, first=False))

    def adapt(self, content: bytes) -> None:
        """Answer with an adapter from now on, or without one; what the cache holds belongs to the one before.

        Args:
            content: A GGUF LoRA that is known to fit the model; empty for none.

        Raises:
            AdapterFailed: it can't be used; all is as it was.
        """
        fresh = load_adapter(self._model, content) if content else None
        before, self._adapter = self._adapter, fresh
        put_on(self._context, fresh)
        self._forget_from(0)
        if before is not None:
            llama.llama_adapter_lora_free(before)

    def encode(self, messages: Sequence[ChatMessage], reply: str) -> tuple[bytes, bytes]:
        """The tokens of a conversation and those of the reply to it, little-endian int32.

        Raises:
            TemplateFailed: the model has no chat template that takes these messages.
        """
        of_reply = [*self.vocabulary.tokenize(reply, control=False, first=False), self.vocabulary.ends_turn()]
        return array.array("i", self._prompt(messages)).tobytes(), array.array("i", of_reply).tobytes()

    def generate(self, request: Generate, send: Callable[[Reply], None]) -> None:
        """Answer one request; `stop_flag` set by another thread ends it within milliseconds.

        Raises:
            TemplateFailed, SchemaFailed, OutOfMemory: nothing was generated.
            AdapterFailed: what was generated isn't to be believed; from now on is answered without the adapter.
        """
        started = time.perf_counter()
        prompt = self._prompt(request.messages, request.tools)
        if len(prompt) + request.reserve > self._window:
            tools = len(prompt) - len(self._prompt(request.messages)) if request.tools else 0
            costs = self._costs(request.messages, len(prompt) - tools)
            send(Overflow(request.id, costs, len(prompt), self._window - request.reserve, max(0, tools)))
            return
        grammar = grammar_of(request.schema) if request.schema is not None else None
        if request.tools:
            grammar = grammar_of_calls(request.tools)
        self._make_room(len(prompt) + 1)
        cached = self._reuse(prompt)
        send(Evaluated(request.id, 0, len(prompt) - cached))  # from here on a stop takes milliseconds
        finished = self._evaluate(request.id, prompt, cached, send)
        if finished:
            self._check_finite()
        prefilled = time.perf_counter()
        run = Run(self, request, send)
        if finished:
            chain = build_chain(request.sampling, self.vocabulary.handle, prompt, grammar)
            try:
                run.decode(chain)
            finally:
                llama.llama_sampler_free(chain)
        ended = time.perf_counter()
        run.flush()
        send(
            Finished(
                id=request.id,
                finish=run.finish,
                tokens=run.replayable_tokens(),
                prompt_tokens=len(prompt),
                cached_tokens=cached,
                completion_tokens=len(run.tokens),
                prefill_s=prefilled - started,
                decode_s=ended - prefilled,
                first_token_s=(run.first_token_at or ended) - started,
                peak_memory=_peak_memory(),
            )
        )

    def _prompt(self, messages: Sequence[ChatMessage], tools: Sequence[OfferedTool] = ()) -> list[int]:
        """The prompt's tokens."""
        vocabulary = self.vocabulary
        tokens: list[int] = []
        pending = ""

        def settle() -> None:
            nonlocal pending
            if pending:
                tokens.extend(vocabulary.tokenize(pending, control=True, first=not tokens))
                pending = ""

        for text, index, reply in self._chat_template(for_tools=bool(tools)).pieces(messages, tools):
            if index is None:
                pending += text
            elif reply is not None:
                settle()
                tokens.extend(array.array("i", reply))
            elif vocabulary.spells_control(text):
                settle()
                tokens.extend(vocabulary.tokenize(text, control=False, first=not tokens))
            else:
                # Tokenized together with the template around it, exactly as the model was trained.
                pending += text
        settle()
        start = vocabulary.prompt_start()
        if tokens[: len(start)] != start:
            tokens[:0] = start
        return tokens

    def _costs(self, messages: Sequence[ChatMessage], total: int) -> list[int]:
        """About how many of a prompt's tokens each message costs; together never less than all of them."""
        costs = [
            len(message.tokens) // _TOKEN_BYTES
            if message.tokens is not None
            else len(self.vocabulary.tokenize(message.text, control=False, first=False))
            for message in messages
        ]
        overhead = max(0, total - sum(costs))
        return [cost + -(-overhead // len(messages)) for cost in costs]

    def _chat_template(self, *, for_tools: bool) -> ChatTemplate:
        """The model's template; some have one of their own for conversations with tools."""
        name = b"tool_use" if for_tools and llama.llama_model_chat_template(self._model, b"tool_use") else None
        if name not in self._templates:
            source = llama.llama_model_chat_template(self._model, name)
            if not source:
                raise TemplateFailed("the model has no chat template: it completes text, it doesn't converse")
            self._templates[name] = ChatTemplate(
                source.decode("utf-8", "replace"),
                self.vocabulary.begin(),
                self.vocabulary.end(),
                self.vocabulary.control_spellings,
            )
        return self._templates[name]

    def _tool_form(self) -> ToolForm:
        sources = [llama.llama_model_chat_template(self._model, name) for name in (None, b"tool_use")]
        if not any(source and CALL_BEGINS.encode() in source for source in sources):
            return "none"  # no need to make it ready already now
        try:
            return self._chat_template(for_tools=True).tool_form()
        except TemplateFailed:
            return "none"

    def _reuse(self, prompt: list[int]) -> int:
        """Keep the part of the cache that begins this prompt, and return its length."""
        common = 0
        # The last token is evaluated in any case: its output is where the reply begins.
        for ours, wanted in zip(self._cached, prompt[:-1], strict=False):
            if ours != wanted:
                break
            common += 1
        self._forget_from(common)
        return len(self._cached)

    def _forget_from(self, position: int) -> None:
        memory = llama.llama_get_memory(self._context)
        if position and llama.llama_memory_seq_rm(memory, 0, position, -1):
            del self._cached[position:]
        else:  # all of it, or a model whose state can't be cut
            llama.llama_memory_clear(memory, True)
            self._cached.clear()

    def _evaluate(self, request_id: int, prompt: list[int], cached: int, send: Callable[[Reply], None]) -> bool:
        """Evaluate the prompt from `cached` on; false when it was stopped."""
        total = len(prompt) - cached
        for start in range(cached, len(prompt), _BATCH):
            part = prompt[start : start + _BATCH]
            if not self._evaluate_batch((llama.llama_token * len(part))(*part), len(part)):
                return False
            if total > _BATCH:
                send(Evaluated(request_id, start + len(part) - cached, total))
        return True

    def _evaluate_batch(self, tokens: "ctypes.Array[ctypes.c_int32]", count: int) -> bool:
        """Evaluate tokens after those in the cache; false when the stop flag ended it."""
        if self.stop_flag[0] != b"\0":
            return False
        result = llama.llama_decode(self._context, llama.llama_batch_get_one(tokens, count))
        if result == _DECODED:
            self._cached.extend(tokens[:count])
            return True
        # What was evaluated of an unfinished batch is in the cache, and isn't in our account of it.
        self._forget_from(len(self._cached))
        if result == _ABORTED:
            return False
        raise OutOfMemory(f"llama.cpp can't go on: {last_error() or f'its code is {result}'}")

    def decode_one(self, token: int) -> bool:
        """Evaluate one generated token; false when the stop flag ended it.

        Raises:
            OutOfMemory, AdapterFailed: as `generate`.
        """
        if len(self._cached) + 1 >= self._room:
            self._make_room(len(self._cached) + 2)
            if not self._cached:
                raise OutOfMemory("the conversation can't be moved to a larger context window")
        self._one[0] = token
        if not self._evaluate_batch(self._one, 1):
            return False
        self._check_finite()
        return True

    def _check_finite(self) -> None:
        """An adapter can be harmless until one token, and spoil the cache from there on.

        Raises:
            AdapterFailed: what was evaluated last aren't numbers; from now on is answered without the adapter.
        """
        if self._adapter is not None and not finite(self._context, self.vocabulary.size):
            self.adapt(b"")
            raise AdapterFailed("with it, the model computes what is no number")

    @property
    def full(self) -> bool:
        """Whether the context window has no room for another token."""
        return len(self._cached) + 1 >= self._window

    def sample(self, chain: Any) -> int:  # noqa: ANN401
        """The next token."""
        return int(llama.llama_sampler_sample(chain, self._context, -1))

    def _choose_window(self) -> int:
        """The context window: what was asked for or the model's own, as far as memory goes.

        Raises:
            OutOfMemory: what was asked for, or even a small window, doesn't fit.
        """
        asked = self._setup.context
        trained = int(llama.llama_model_n_ctx_train(self._model))
        window = min(asked, trained) if asked and trained else asked or trained
        weights = os.fstat(self._setup.model).st_size
        budget = (self._setup.memory_free - weights) // 2
        if self._setup.memory_limit:
            budget = min(budget, self._setup.memory_limit - WORKING_MEMORY)
        per_token = self._cache_bytes_per_token()
        affordable = max(0, budget) // per_token
        if affordable >= window:
            return window
        if asked or affordable < _SMALLEST_WINDOW:
            wanted = window if asked else _SMALLEST_WINDOW
            raise OutOfMemory(
                f"a context window of {wanted} tokens takes {wanted * per_token // 2**20} MiB beside the model, "
                f"and {max(0, budget) // 2**20} MiB may be used"
            )
        return affordable // 256 * 256

    def _cache_bytes_per_token(self) -> int:
        """Bytes of key-value cache (16-bit) for one token.

        An upper bound: models with sliding windows, or layers without attention, take less.
        """
        heads = int(llama.llama_model_n_head(self._model)) or 1
        head_size = int(llama.llama_model_n_embd(self._model)) // heads
        # A count that differs between layers is stated as a list, which llama.cpp doesn't hand on.
        kv_heads = self._stated("attention.head_count_kv") or heads
        key = self._stated("attention.key_length") or head_size
        value = self._stated("attention.value_length") or head_size
        return 2 * int(llama.llama_model_n_layer(self._model)) * kv_heads * (key + value)

    def _stated(self, key: str) -> int:
        """A number from the model file's metadata about its architecture; 0 when it isn't there."""
        text = ctypes.create_string_buffer(64)
        if llama.llama_model_meta_val_str(self._model, b"general.architecture", text, len(text)) < 0:
            return 0
        name = text.value + b"." + key.encode()
        if llama.llama_model_meta_val_str(self._model, name, text, len(text)) < 0:
            return 0
        return int(text.value) if text.value.isdigit() else 0

    def _make_room(self, tokens: int) -> None:
        """See that the cache has room for so many tokens, moving what is in it to a larger one if need be.

        Where it can't be moved, the cache is empty afterwards.
        """
        if tokens <= self._room:
            return
        room = max(self._room, _FIRST_WINDOW)
        while room < tokens:
            room *= 2
        room = min(room, self._window)
        larger = self._new_context(room)
        if self._context is not None:
            if self._cached and not _move_cache(self._context, larger):
                llama.llama_memory_clear(llama.llama_get_memory(larger), True)
                self._cached.clear()
            llama.llama_free(self._context)
        self._context, self._room = larger, room

    def _new_context(self, room: int) -> Any:  # noqa: ANN401
        parameters = llama.llama_context_default_params()
        parameters.n_ctx = room
        parameters.n_batch = parameters.n_ubatch = min(_BATCH, room)
        parameters.n_threads = parameters.n_threads_batch = self._setup.threads
        parameters.no_perf = True
        last_error()
        context = llama.llama_init_from_model(self._model, parameters)
        if not context:
            raise OutOfMemory(f"a context window of {room} tokens doesn't fit: {last_error() or 'no reason given'}")
        abort_when_set(context, self.stop_flag)
        put_on(context, self._adapter)
        return context


def _move_cache(smaller: Any, larger: Any) -> bool:  # noqa: ANN401
    """Copy what is in one context's cache to another's; false if that can't be done."""
    size = llama.llama_state_seq_get_size(smaller, 0)
    try:
        state = (ctypes.c_uint8 * size)()
    except MemoryError:
        return False
    moved = llama.llama_state_seq_get_data(smaller, state, size, 0)
    return bool(moved and llama.llama_state_seq_set_data(larger, state, moved, 0))


def _peak_memory() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
