"""The full-screen terminal app.

Nothing is here yet: `claw` opens the line-mode conversation (`cli.conversation`).
"""

__all__: list[str] = []
