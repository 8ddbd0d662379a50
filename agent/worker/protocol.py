"""What the app and its inference worker say to each other."""

from typing import Any, Literal

import msgspec

__all__ = [
    "PROTOCOL",
    "Adapt",
    "Adapted",
    "Called",
    "Cancel",
    "ChatMessage",
    "Count",
    "Counted",
    "Delta",
    "Encode",
    "Encoded",
    "Evaluated",
    "Failed",
    "Finish",
    "Finished",
    "Generate",
    "OfferedTool",
    "Overflow",
    "Ready",
    "Reply",
    "Request",
    "Sampling",
    "Setup",
    "ToolForm",
]

PROTOCOL = 3
"""Version of these messages; both ends come from one installation, so a difference is refused."""

Finish = Literal["stop", "length", "cancelled"]

ToolForm = Literal["hermes", "none"]
"""In which form a model was trained to call tools, as far as its chat template says so and it is known here."""


class ChatMessage(msgspec.Struct, frozen=True):
    """One message of the prompt.

    Attributes:
        role: Who says it.
        text: What is said.
        tokens: For a reply of this very model, its own token ids (little-endian int32): they go into the prompt
            as they are, so that the cache made while generating them is found again.
    """

    role: Literal["system", "user", "assistant"]
    text: str
    tokens: bytes | None = None


class Sampling(msgspec.Struct, frozen=True):
    """How tokens are chosen; names and meanings are llama.cpp's.

    Attributes:
        seed: 32-bit; the same seed, prompt and build give the same reply, as far as what the cache holds already
            doesn't change the last digits of a sum.
        max_tokens: Most tokens of the reply; 0 means as many as fit.
        stop: Strings that end the reply and are not part of it.
    """

    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repeat_penalty: float
    repeat_last_n: int
    seed: int
    max_tokens: int = 0
    stop: tuple[str, ...] = ()


class OfferedTool(msgspec.Struct, frozen=True):
    """A tool that the model may call.

    Attributes:
        name: What it is called by.
        description: What it does.
        parameters: JSON schema of its arguments.
    """

    name: str
    description: str
    parameters: dict[str, Any]


class Setup(msgspec.Struct, frozen=True, tag="setup"):
    """First message to a worker: what to load, and within which limits.

    Attributes:
        model: Descriptor of the weights, inherited.
        threads: CPU threads.
        context: Context window in tokens that the person asks for; 0 for the model's own, as far as memory goes.
        gpu_layers: Layers to keep on a GPU, -1 for all; without effect in a build without one.
        memory_free: Bytes of memory that are free now.
        memory_limit: Most bytes of memory beside the mapped weights; 0 for no limit.
        confine: Whether to refuse to run where the worker can't be confined.
    """

    model: int
    threads: int
    context: int
    gpu_layers: int
    memory_free: int
    memory_limit: int
    confine: bool
    protocol: int = PROTOCOL


class Generate(msgspec.Struct, frozen=True, tag="generate"):
    """Ask for a reply.

    Attributes:
        id: Names this request in its answers.
        messages: The conversation, oldest first.
        sampling: How tokens are chosen.
        reserve: Tokens that must be free for the reply.
        schema: A JSON schema that the reply must fit.
        tools: That may be called in the model's own form, where it has one; the reply is then either one call, or
            text. Not together with a schema.
    """

    id: int
    messages: list[ChatMessage]
    sampling: Sampling
    reserve: int
    schema: str | None = None
    tools: tuple[OfferedTool, ...] = ()


class Cancel(msgspec.Struct, frozen=True, tag="cancel"):
    """Stop the request with this id, wherever it is."""

    id: int


class Count(msgspec.Struct, frozen=True, tag="count"):
    """Ask how many tokens a text is."""

    id: int
    text: str


class Adapt(msgspec.Struct, frozen=True, tag="adapt"):
    """Answer with an adapter from now on, or without one; what the cache holds is forgotten.

    Attributes:
        id: Names this request in its answer, `Adapted` or `Failed`; after the latter, all is as it was.
        content: A GGUF LoRA that is known to fit the model; empty for none.
    """

    id: int
    content: bytes


class Encode(msgspec.Struct, frozen=True, tag="encode"):
    """Ask for the tokens of a conversation and the reply to it, as they would be had it been generated.

    Attributes:
        id: Names this request in its answer.
        messages: The conversation, oldest first.
        reply: What follows.
    """

    id: int
    messages: list[ChatMessage]
    reply: str


Request = Setup | Generate | Cancel | Count | Adapt | Encode


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The model is loaded.

    Attributes:
        context: Context window in tokens that this worker will go up to.
        confinement: `"seccomp"`, or `"none"` where the settings allow that.
        gpu: Whether layers lie on a GPU.
        load_s: Seconds that loading took.
        tool_form: How it calls tools.
    """

    context: int
    confinement: str
    gpu: bool
    load_s: float
    tool_form: ToolForm = "none"


class Evaluated(msgspec.Struct, frozen=True, tag="evaluated"):
    """Progress of a prompt's evaluation: this many of its new tokens are done; first of all, none."""

    id: int
    done: int
    total: int


class Delta(msgspec.Struct, frozen=True, tag="delta"):
    """More text of the reply."""

    id: int
    text: str


class Called(msgspec.Struct, frozen=True, tag="called"):
    """The reply is the call of a tool, and has no text; `Finished` follows.

    Attributes:
        text: JSON, `{"name": ..., "arguments": {...}}`; of a reply that was cut off, as much as came.
    """

    id: int
    text: str


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """The reply is complete.

    Attributes:
        finish: `stop` by the model's own end or a stop string, `length` by a limit, `cancelled` by request.
        tokens: The reply's token ids (little-endian int32), or `None` when they don't spell its text.
        prompt_tokens: Tokens of the prompt.
        cached_tokens: How many of them were in the cache already.
        completion_tokens: Tokens generated.
        prefill_s: Seconds to evaluate the prompt's new tokens.
        decode_s: Seconds from the first generated token to the last.
        first_token_s: Seconds from the request to the first generated token.
        peak_memory: Largest resident size of the worker so far, in bytes.
    """

    id: int
    finish: Finish
    tokens: bytes | None
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    prefill_s: float
    decode_s: float
    first_token_s: float
    peak_memory: int

    @property
    def tokens_per_second(self) -> float | None:
        """How fast the reply was written, after its first token; `None` for a reply too short to say."""
        if self.completion_tokens < 2 or self.decode_s <= 0:
            return None
        return (self.completion_tokens - 1) / self.decode_s


class Overflow(msgspec.Struct, frozen=True, tag="overflow"):
    """The prompt and the reserve don't fit the context window; nothing was evaluated.

    Attributes:
        costs: Tokens of each message, its share of the template included.
        total: Tokens of the whole prompt.
        context: Tokens there is room for.
        tools: Tokens that the tools take, whatever the messages are.
    """

    id: int
    costs: list[int]
    total: int
    context: int
    tools: int = 0


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The request, or the loading (id 0), failed; the worker can go on unless it was the loading.

    Attributes:
        kind: What sort of failure, for choosing the error. After `adapter` in answer to `Generate`, there is none.
        message: One sentence for a person.
    """

    id: int
    kind: Literal["model", "adapter", "memory", "confinement", "template", "schema", "internal"]
    message: str


class Counted(msgspec.Struct, frozen=True, tag="counted"):
    """So many tokens a text is, by itself: what it spells of control tokens counts as text, as in a prompt."""

    id: int
    tokens: int


class Adapted(msgspec.Struct, frozen=True, tag="adapted"):
    """What is answered from now on is answered so.

    Attributes:
        swap_s: Seconds that it took.
    """

    id: int
    swap_s: float


class Encoded(msgspec.Struct, frozen=True, tag="encoded"):
    """The answer to an `Encode`: token ids, little-endian int32.

    Attributes:
        id: As in the request.
        prompt: Of all that stands before the reply.
        reply: Of the reply, and the one that ends it.
    """

    id: int
    prompt: bytes
    reply: bytes


Reply = Ready | Evaluated | Delta | Called | Finished | Overflow | Failed | Counted | Adapted | Encoded
