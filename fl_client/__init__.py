"""How the assistant learns with others: consent, limits, sandboxed training, participation.

Nothing is here yet: no part of the assistant trains or takes part in a federation.
"""

__all__: list[str] = []
