"""Text into vectors, and vectors into decisions, in a child process that has no network, no files and no vault.

`skills.embedding.embedder.Embedder` starts the child when it is first asked, and keeps it while it is used;
`skills.embedding.head.Head` is what it has learned.
"""

__all__: list[str] = []
