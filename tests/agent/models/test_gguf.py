"""The reader of GGUF headers: right about good files, never surprised by bad ones."""

import ctypes
import importlib.util
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.errors import ModelRefused
from agent.models.embedded import EMBEDDED, embedded_file
from agent.models.ggml_types import FILE_TYPES, TENSOR_TYPES
from agent.models.gguf import GgufHeader, read_header
from tests.tiny_model import TINY_CONTEXT, TINY_TEMPLATE, tiny_gguf

U32, STRING, ARRAY = 4, 8, 9


@contextmanager
def opened(content: bytes) -> Iterator[int]:
    descriptor = os.memfd_create("gguf")
    try:
        os.write(descriptor, content)
        yield descriptor
    finally:
        os.close(descriptor)


def read(content: bytes) -> GgufHeader:
    with opened(content) as descriptor:
        return read_header(descriptor)


def refusal(content: bytes) -> str:
    with pytest.raises(ModelRefused) as caught:
        read(content)
    return caught.value.message


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def entry(key: str | bytes, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def number(key: str, value: int) -> bytes:
    return entry(key, U32, struct.pack("<I", value))


def tensor(name: str, shape: tuple[int, ...], kind: int = 0, offset: int = 0) -> bytes:
    return (
        text(name)
        + struct.pack("<I", len(shape))
        + b"".join(struct.pack("<Q", length) for length in shape)
        + struct.pack("<IQ", kind, offset)
    )


BASICS = [
    entry("general.architecture", STRING, text("llama")),
    number("llama.context_length", 64),
    number("llama.embedding_length", 8),
    number("llama.block_count", 2),
]


def model(
    *extra: bytes,
    basics: list[bytes] = BASICS,
    tensors: list[bytes] | None = None,
    version: int = 3,
    data: int = 4096,
) -> bytes:
    """A GGUF file by hand."""
    tensors = [tensor("t", (8,))] if tensors is None else tensors
    entries = [*basics, *extra]
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(entries))
    return head + b"".join(entries) + b"".join(tensors) + bytes(data)


TINY_KINDS = (
    *sorted(
        f"blk.{each}.weight"
        for each in (
            "attn_k",
            "attn_norm",
            "attn_output",
            "attn_q",
            "attn_v",
            "ffn_down",
            "ffn_gate",
            "ffn_norm",
            "ffn_up",
        )
    ),
    "output_norm.weight",
    "token_embd.weight",
)


def test_the_tiny_model_says_what_it_was_written_with(tiny_model: Path) -> None:
    header = read(tiny_model.read_bytes())
    assert header == GgufHeader(
        architecture="llama",
        name="Tiny",
        context_length=TINY_CONTEXT,
        embedding_length=64,
        feed_forward_length=128,
        block_count=1,
        head_count=4,
        head_count_kv=2,
        key_length=16,
        value_length=16,
        parameters=header.parameters,
        quantization="F32",
        licence="apache-2.0",
        chat_template=TINY_TEMPLATE,
        tokenizer="llama",
        rope_scaling="",
        tensor_kinds=TINY_KINDS,
        file_bytes=tiny_model.stat().st_size,
    )
    assert header.parameters == sum(int(np.prod(found.shape)) for found in gguf.GGUFReader(tiny_model).tensors)
    assert header.kv_bytes_per_token() == 1 * 2 * (16 + 16) * 2


def test_how_positions_are_scaled_is_told() -> None:
    scaled = model(entry("llama.rope.scaling.type", STRING, text("yarn")))
    assert (read(scaled).rope_scaling, read(model()).rope_scaling) == ("yarn", "")


def test_the_embedded_model_is_what_its_record_says() -> None:
    descriptor = os.open(embedded_file(), os.O_RDONLY)
    try:
        header = read_header(descriptor)
        assert os.lseek(descriptor, 0, os.SEEK_CUR) == 0
    finally:
        os.close(descriptor)
    assert (header.architecture, header.context_length, header.parameters, header.quantization, header.licence) == (
        EMBEDDED.architecture,
        EMBEDDED.context_length,
        EMBEDDED.parameters,
        EMBEDDED.quantization,
        EMBEDDED.licence,
    )
    assert header.file_bytes == EMBEDDED.bytes
    assert header.chat_template is not None


def test_block_sizes_are_those_of_the_installed_llama_cpp() -> None:
    spec = importlib.util.find_spec("llama_cpp")
    assert spec is not None
    assert spec.submodule_search_locations
    library = ctypes.CDLL(str(Path(spec.submodule_search_locations[0]) / "lib" / "libggml-base.so"))
    library.ggml_blck_size.restype = ctypes.c_int64
    library.ggml_type_size.restype = ctypes.c_size_t
    library.ggml_type_name.restype = ctypes.c_char_p
    newest = max(TENSOR_TYPES)
    theirs = {
        kind: (library.ggml_type_name(kind).decode().upper(), library.ggml_blck_size(kind), size)
        for kind in range(newest + 1)
        if (size := library.ggml_type_size(kind))
    }
    assert {kind: tuple(packing) for kind, packing in TENSOR_TYPES.items()} == theirs


def test_file_types_are_named_as_in_the_gguf_package() -> None:
    for kind in gguf.LlamaFileType:
        if kind is not gguf.LlamaFileType.GUESSED:
            name = kind.name.removeprefix("ALL_").removeprefix("MOSTLY_").removesuffix("_MOE")
            assert FILE_TYPES[int(kind)] == name


@pytest.mark.parametrize(
    "kind", ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ1_0", "TQ2_0", "Q4_K", "IQ4_XS"]
)
def test_sizes_of_files_written_by_the_gguf_package_are_computed_to_the_byte(tmp_path: Path, kind: str) -> None:
    quant = gguf.GGMLQuantizationType[kind]
    block, size = gguf.GGML_QUANT_SIZES[quant]
    path = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(8)
    writer.add_block_count(2)
    for index in range(3):
        packed = np.zeros((5, 512 // block * size), dtype=np.uint8)
        writer.add_tensor(f"t{index}", packed, raw_dtype=quant)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    content = path.read_bytes()
    assert read(content).parameters == 3 * 5 * 512
    assert read(content).quantization == kind
    padding = -(5 * 512 // block * size) % 32  # the writer pads the last tensor, which nothing needs
    read(content[: len(content) - padding])
    assert "cut off" in refusal(content[: len(content) - padding - 1])


def test_a_truncated_file_is_refused_with_both_sizes(tiny_model: Path) -> None:
    content = tiny_model.read_bytes()
    assert refusal(content[:-1]) == f"The file is cut off: it has {len(content) - 1:,} bytes of {len(content):,}."


def test_every_truncation_of_the_header_is_refused(tiny_model: Path) -> None:
    content = tiny_model.read_bytes()[:9000]
    for length in range(0, len(content), 37):
        refusal(content[:length])


def test_an_unknown_architecture_is_for_llama_cpp_to_refuse(tmp_path: Path) -> None:
    path = tiny_gguf(tmp_path / "alien.gguf", architecture="klingon")
    assert read(path.read_bytes()).architecture == "klingon"


def test_what_a_file_does_not_say_stays_empty(tmp_path: Path) -> None:
    header = read(tiny_gguf(tmp_path / "m.gguf", licence=None, template=None).read_bytes())
    assert (header.licence, header.chat_template) == ("", None)


def test_versions_2_and_3_are_read() -> None:
    assert read(model(version=2)) == read(model(version=3))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "an empty file"),
        (b"<!doctype html><html>", "a web page"),
        (b"PK\x03\x04" + bytes(100), "something else"),
        (model(version=1), "version 1"),
        (model(version=4), "version 4"),
        (b"GGUF" + struct.pack(">IQQ", 3, 1, 1) + bytes(100), "big-endian"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**63, 1), "announces"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 2**63), "announces"),
        (model(tensors=[]), "no weights"),
        (model(basics=BASICS[1:]), "which architecture"),
        (model(basics=BASICS[:1] + BASICS[2:]), "context length"),
        (model(basics=BASICS[:2] + BASICS[3:]), "embedding length"),
        (model(basics=BASICS[:3]), "block count"),
        (model(basics=[*BASICS[:3], number("llama.block_count", 0)]), "block count"),
        (model(basics=[*BASICS[:3], number("llama.block_count", 2**32 - 1)]), "out of bounds"),
        (model(basics=[*BASICS[:3], entry("llama.block_count", STRING, text("2"))]), "block count"),
        (model(basics=[*BASICS[:3], entry("llama.block_count", 6, struct.pack("<f", 2.0))]), "out of bounds"),
        (model(BASICS[0]), "twice"),
        (model(entry("general.name", U32, bytes(4))), "no text"),
        (model(entry("general.name", STRING, text(b"\xff"))), "UTF-8"),
        (model(entry(b"\xff", U32, bytes(4))), "UTF-8"),
        (model(entry("general.name", STRING, struct.pack("<Q", 2**62))), "bytes"),
        (model(entry("other", STRING, struct.pack("<Q", 2**62))), "cut off"),
        (model(entry("x", 13, b"")), "type 13"),
        (model(entry("x", ARRAY, struct.pack("<IQ", ARRAY, 1))), "items of type 9"),
        (model(entry("x", ARRAY, struct.pack("<IQ", U32, 2**62))), "cut off"),
        (model(entry("x", ARRAY, struct.pack("<IQ", STRING, 2**61))), "cut off"),
        (model(entry("x", ARRAY, struct.pack("<IQQ", STRING, 2, 2**62))), "cut off"),
        (model(entry("llama.attention.head_count_kv", ARRAY, struct.pack("<IQ", U32, 0))), "head count kv"),
        (model(number("general.alignment", 0)), "alignment"),
        (model(number("general.alignment", 48)), "alignment"),
        (model(number("general.alignment", 2**31)), "alignment"),
        (model(entry("general.type", STRING, text("adapter"))), "LoRA adapter"),
        (model(entry("general.type", STRING, text("mmproj"))), "image projector"),
        (model(number("split.count", 3)), "one of 3 parts"),
        (model(tensors=[tensor("t", ())]), "0 dimensions"),
        (model(tensors=[tensor("t", (1, 1, 1, 1, 1))]), "5 dimensions"),
        (model(tensors=[tensor("t", (0,))]), "impossible size"),
        (model(tensors=[tensor("t", (2**32, 2**32))]), "impossible size"),
        (model(tensors=[tensor("t", (2**63,))]), "impossible size"),
        (model(tensors=[tensor("t", (8,), kind=4)]), "type 4"),
        (model(tensors=[tensor("t", (8,), kind=2**31)]), "which this version doesn't know"),
        (model(tensors=[tensor("t", (8,), kind=2)]), "Q4_0 row has 8"),
        (model(tensors=[tensor("t", (8,), offset=32)]), "should at 0"),
        (model(tensors=[tensor("a", (8,)), tensor("b", (8,), offset=0)]), "should at 32"),
        (model(tensors=[tensor("a", (8,)), tensor("a", (8,), offset=32)]), "same name"),
        (model(tensors=[tensor("t" * 64, (8,))]), "name has 64"),
        (model(tensors=[tensor("t", (2**40,))]), "cut off"),
    ],
)
def test_a_bad_file_is_refused_with_what_is_wrong(content: bytes, why: str) -> None:
    assert why in refusal(content)


def test_numbers_per_layer_give_the_largest() -> None:
    heads = struct.pack("<IQIII", U32, 3, 0, 4, 2)
    header = read(
        model(
            number("llama.attention.head_count", 8),
            entry("llama.attention.head_count_kv", ARRAY, heads),
            number("llama.attention.key_length", 128),
            number("llama.attention.value_length", 64),
        )
    )
    assert (header.head_count, header.head_count_kv) == (8, 4)
    assert header.kv_bytes_per_token() == 2 * 4 * (128 + 64) * 2


def test_a_wider_alignment_moves_the_weights() -> None:
    tensors = [tensor("a", (8,)), tensor("b", (8,), offset=4096)]
    content = model(number("general.alignment", 4096), tensors=tensors, data=0)
    needed = -(-len(content) // 4096) * 4096 + 4096 + 32
    read(content + bytes(needed - len(content)))
    assert f"of {needed:,}" in refusal(content + bytes(needed - len(content) - 1))


def test_a_file_type_that_is_unknown_gives_the_commonest_tensor_type() -> None:
    tensors = [tensor("a", (8,)), tensor("b", (64, 8), kind=8, offset=32)]
    assert read(model(number("general.file_type", 999), tensors=tensors)).quantization == "Q8_0"
    assert read(model(number("general.file_type", 1024 + 15), tensors=tensors)).quantization == "Q4_K_M"


def test_vocabularies_longer_than_the_window_are_passed_over() -> None:
    words = b"".join(text("w" * (index % 300)) for index in range(20_000))
    long = entry("tokenizer.ggml.tokens", ARRAY, struct.pack("<IQ", STRING, 20_000) + words)
    huge = entry("tokenizer.ggml.merges", ARRAY, struct.pack("<IQ", STRING, 1) + text("x" * 3 * 2**20))
    assert read(model(long, huge, number("llama.attention.head_count", 2))).head_count == 2


def test_a_header_without_end_is_given_up() -> None:
    descriptor = os.memfd_create("huge")
    try:
        count = 2**24
        begin = model(tensors=[b""], data=0)[: 4 + 4 + 8]
        os.write(descriptor, begin + struct.pack("<Q", 1))
        os.write(descriptor, entry("x", ARRAY, struct.pack("<IQ", STRING, count)))
        os.ftruncate(descriptor, count * 8 + 1000)  # sixteen million empty strings, in a file of holes
        with pytest.raises(ModelRefused, match="takes more than"):
            read_header(descriptor)
    finally:
        os.close(descriptor)


@given(st.binary(max_size=400))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    for candidate in (content, b"GGUF\x03\x00\x00\x00" + content):
        with suppress(ModelRefused):
            read(candidate)


@given(
    st.lists(
        st.tuples(st.integers(0, 9000), st.one_of(st.integers(0, 255), st.sampled_from([0, 255, 127, 128]))),
        min_size=1,
        max_size=8,
    ),
    st.integers(0, 300_000),
)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_change_of_a_real_header_is_read_or_refused(
    tiny_model: Path, changes: list[tuple[int, int]], length: int
) -> None:
    content = bytearray(tiny_model.read_bytes())
    for place, byte in changes:
        content[place] = byte
    for candidate in (bytes(content), bytes(content[:length])):
        with suppress(ModelRefused):
            read(candidate)


@given(st.lists(st.tuples(st.text(max_size=8), st.integers(0, 14), st.binary(max_size=24)), max_size=6))
@settings(max_examples=300, deadline=None)
def test_any_metadata_is_read_or_refused(entries: list[tuple[str, int, bytes]]) -> None:
    with suppress(ModelRefused):
        read(model(*(entry(key, kind, value) for key, kind, value in entries)))
