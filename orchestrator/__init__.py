"""The other end of a federation: enrolment, rounds, aggregation, releases.

Nothing is here yet but the command's name, which says so.
"""

__all__: list[str] = []
