"""A federation on one machine: many devices with data that somebody has already, and the rounds they would have.

Devices and server run the same code as real ones, from training to the sum modulo the ring; what is left out is the
network and, but for the rounds that are asked for, the masks: the sum of what is masked is the sum of what isn't.
"""

__all__: list[str] = []
