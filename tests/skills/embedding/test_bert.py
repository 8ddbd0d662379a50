"""The encoder, beside one that is written for being read."""

import math

import numpy as np
import numpy.typing as npt
import pytest

from skills.embedding.files import Located
from skills.embedding.worker import bert
from skills.embedding.worker.bert import Bert
from skills.embedding.worker.weights import tensors
from skills.embedding.worker.wordpiece import WordPiece

WIDTH, INNER, LAYERS, HEADS, WORDS, PLACES = 192, 1088, 2, 12, 30, 16

Array = npt.NDArray[np.float32]


def random_tensors() -> dict[str, Array]:
    numbers = np.random.default_rng(4)
    shapes = {
        "embeddings.word_embeddings.weight": (WORDS, WIDTH),
        "embeddings.position_embeddings.weight": (PLACES, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
        "embeddings.LayerNorm.weight": (WIDTH,),
        "embeddings.LayerNorm.bias": (WIDTH,),
    }
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        dense = {f"attention.self.{part}": (WIDTH, WIDTH) for part in ("query", "key", "value")}
        dense |= {
            "attention.output.dense": (WIDTH, WIDTH),
            "intermediate.dense": (INNER, WIDTH),
            "output.dense": (WIDTH, INNER),
        }
        for part, shape in dense.items():
            shapes[f"{name}.{part}.weight"] = shape
            shapes[f"{name}.{part}.bias"] = (shape[0],)
        for part in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes[f"{name}.{part}.weight"] = shapes[f"{name}.{part}.bias"] = (WIDTH,)
    return {name: numbers.normal(scale=0.3, size=shape).astype(np.float32) for name, shape in shapes.items()}


def plainly(weights: dict[str, Array], ids: list[int]) -> npt.NDArray[np.float64]:
    """One text's vector, in float64, one head after another."""
    of = {name: tensor.astype(np.float64) for name, tensor in weights.items()}

    def norm(x: npt.NDArray[np.float64], name: str) -> npt.NDArray[np.float64]:
        spread = np.sqrt(x.var(-1, keepdims=True) + 1e-12)
        return np.asarray((x - x.mean(-1, keepdims=True)) / spread * of[f"{name}.weight"] + of[f"{name}.bias"])

    def dense(x: npt.NDArray[np.float64], name: str) -> npt.NDArray[np.float64]:
        return np.asarray(x @ of[f"{name}.weight"].T + of[f"{name}.bias"])

    x = norm(
        of["embeddings.word_embeddings.weight"][ids]
        + of["embeddings.position_embeddings.weight"][: len(ids)]
        + of["embeddings.token_type_embeddings.weight"][0],
        "embeddings.LayerNorm",
    )
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        query, key, value = (dense(x, f"{name}.attention.self.{part}") for part in ("query", "key", "value"))
        size = WIDTH // HEADS
        gathered = []
        for head in range(HEADS):
            part = slice(head * size, (head + 1) * size)
            weight = np.exp(query[:, part] @ key[:, part].T / math.sqrt(size))
            gathered.append(weight / weight.sum(1, keepdims=True) @ value[:, part])
        merged = dense(np.concatenate(gathered, 1), f"{name}.attention.output.dense")
        x = norm(x + merged, f"{name}.attention.output.LayerNorm")
        wide = dense(x, f"{name}.intermediate.dense")
        wide = np.vectorize(lambda number: number * 0.5 * (1 + math.erf(number / math.sqrt(2))))(wide)
        x = norm(x + dense(wide, f"{name}.output.dense"), f"{name}.output.LayerNorm")
    pooled = x.mean(0)
    return np.asarray(pooled / np.linalg.norm(pooled))


@pytest.fixture(scope="module")
def weights() -> dict[str, Array]:
    return random_tensors()


def texts(count: int) -> list[list[int]]:
    numbers = np.random.default_rng(9)
    return [numbers.integers(0, WORDS, numbers.integers(1, PLACES + 1)).tolist() for _ in range(count)]


def test_a_texts_vector_is_the_one_that_is_computed_plainly(weights: dict[str, Array]) -> None:
    encoder = Bert(weights, 1)
    for text in texts(20):
        assert np.abs(encoder.embed([text])[0] - plainly(weights, text)).max() < 2e-5


def test_no_texts_vector_hangs_on_what_it_is_embedded_with(
    weights: dict[str, Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bert, "_BATCH_TOKENS", 32)
    encoder = Bert(weights, 2)
    many = texts(200)
    together = encoder.embed(many)
    assert together.shape == (200, WIDTH)
    assert together.dtype == np.float32
    for text, vector in zip(many[::9], together[::9], strict=True):
        assert np.abs(encoder.embed([text])[0] - vector).max() < 1e-6
    assert np.abs(np.linalg.norm(together, axis=1) - 1).max() < 1e-6


def test_no_text_has_no_vector(weights: dict[str, Array]) -> None:
    assert Bert(weights, 2).embed([]).shape == (0, WIDTH)


def test_the_curve_between_layers_is_that_of_the_error_function() -> None:
    places = np.linspace(-12, 12, 4801, dtype=np.float32)
    exact = [float(x) * 0.5 * (1 + math.erf(float(x) / math.sqrt(2))) for x in places]
    assert np.abs(bert._gelu(places) - np.array(exact)).max() < 2e-6


def test_weights_that_lack_a_tensor_are_refused(weights: dict[str, Array]) -> None:
    with pytest.raises(KeyError):
        Bert({name: tensor for name, tensor in weights.items() if "layer.1.output.dense.bias" not in name}, 1)


def test_it_computes_what_transformers_computes(installed: Located) -> None:
    torch = pytest.importorskip("torch", reason="torch (extra `train`) isn't installed")
    transformers = pytest.importorskip("transformers", reason="transformers (extra `train`) isn't installed")
    theirs = transformers.BertModel.from_pretrained(str(installed.weights.parent)).eval()
    ours = Bert(tensors(installed.weights.read_bytes()), 1)
    words = WordPiece(installed.vocabulary.read_bytes())
    for text in ("what is the weather like tomorrow", "Ünïcödé: 北京, $5!", "", "long words, often said. " * 30):
        ids = words.encode(text)
        with torch.no_grad():
            pooled = theirs(torch.tensor([ids])).last_hidden_state.mean(1)
        expected = torch.nn.functional.normalize(pooled).numpy()[0]
        assert np.abs(ours.embed([ids])[0] - expected).max() < 1e-6
