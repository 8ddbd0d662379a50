"""The language both ends of a federation speak: messages, secure aggregation, distributed privacy.

Pure: no input or output, no clock, and randomness is handed in. `federation.privacy` makes an update fit to be
sent, `federation.secagg` opens nothing but the sum of many.
"""

__all__: list[str] = []
