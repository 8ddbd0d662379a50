"""Distributed differential privacy: updates become integers with noise, and what their sum tells of one is bounded.

`clip` and `add_noise` make the kinds of delta that may go on; `planner` chooses the numbers, `accounting`
bounds them.
"""

__all__: list[str] = []
