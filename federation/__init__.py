"""The language both ends of a federation speak: messages, secure aggregation, distributed privacy.

Nothing is here yet.
"""

__all__: list[str] = []
