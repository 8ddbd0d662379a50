"""The other end of a federation: enrolment, rounds, aggregation, releases; the `claw-orchestrator` command.

Nothing between two requests is in its memory: a database and a store hold everything, for any number of replicas.
"""

__all__: list[str] = []
