"""llama.cpp's sampler chain, and the end of a reply at a stop string."""

import ctypes
from collections.abc import Sequence
from typing import Any

from agent.worker.binding import llama
from agent.worker.grammar import SchemaFailed
from agent.worker.protocol import Sampling

__all__ = ["StopScanner", "build_chain", "free_of_grammar"]


def build_chain(sampling: Sampling, vocabulary: Any, recent: Sequence[int], grammar: str | None) -> Any:  # noqa: ANN401
    """A sampler chain in llama.cpp's usual order: grammar, penalties, top-k, top-p, min-p, temperature, draw.

    Args:
        sampling: The parameters.
        vocabulary: The model's vocabulary.
        recent: Tokens of the prompt; the last `repeat_last_n` count for the repeat penalty.
        grammar: GBNF that the reply must fit.

    Returns:
        The chain; free it with `llama_sampler_free`.

    Raises:
        SchemaFailed: llama.cpp refuses the grammar.
    """
    chain = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
    if grammar is not None:
        constraint = llama.llama_sampler_init_grammar(vocabulary, grammar.encode(), b"root")
        if not constraint:
            llama.llama_sampler_free(chain)
            raise SchemaFailed("llama.cpp refuses the grammar made of the schema")
        llama.llama_sampler_chain_add(chain, constraint)
    if sampling.repeat_penalty != 1.0 and sampling.repeat_last_n:
        penalties = llama.llama_sampler_init_penalties(
            llama.llama_vocab_n_tokens(vocabulary), sampling.repeat_last_n, sampling.repeat_penalty, 0.0, 0.0
        )
        for token in recent[-sampling.repeat_last_n :]:
            llama.llama_sampler_accept(penalties, token)
        llama.llama_sampler_chain_add(chain, penalties)
    if sampling.temperature == 0:
        llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_greedy())
        return chain
    if sampling.top_k:
        llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_top_k(sampling.top_k))
    if sampling.top_p < 1:
        llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_top_p(sampling.top_p, 1))
    if sampling.min_p:
        llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_min_p(sampling.min_p, 1))
    llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_temp(sampling.temperature))
    llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_dist(ctypes.c_uint32(sampling.seed).value))
    return chain


def free_of_grammar(chain: Any) -> None:  # noqa: ANN401
    """Take the grammar out of a chain that has one: from here on anything may come.

    A grammar is asked about every token of the vocabulary each time, which costs more than all the rest of a chain.
    """
    llama.llama_sampler_free(llama.llama_sampler_chain_remove(chain, 0))


class StopScanner:
    """Passes text on, up to a stop string; holds back what could be the beginning of one.

    Of several stop strings the one that is complete first counts, so that the result doesn't depend on how the
    text is split.

    Args:
        stops: The strings; an empty sequence passes everything on at once.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.stopped = False

    def push(self, text: str) -> str:
        """Take more text, and return what is safe to show."""
        if not self._stops:
            return text
        text = self._held + text
        ends = [(start + len(stop), start) for stop in self._stops if (start := text.find(stop)) >= 0]
        if ends:
            self.stopped, self._held = True, ""
            _, start = min(ends)
            return text[:start]
        hold = max(
            (
                length
                for stop in self._stops
                for length in range(min(len(stop) - 1, len(text)), 0, -1)
                if stop.startswith(text[-length:])
            ),
            default=0,
        )
        self._held = text[len(text) - hold :]
        return text[: len(text) - hold]

    def flush(self) -> str:
        """The text held back, at the end of a reply that met no stop string."""
        held, self._held = self._held, ""
        return held
