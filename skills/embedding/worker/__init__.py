"""The embedder's process: the encoder, and the arithmetic of heads. It alone imports numpy."""

__all__: list[str] = []
