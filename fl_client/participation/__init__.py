"""Taking part in a federation: joining, agreeing to tasks, rounds, and what comes back.

Everything that leaves passes `vault.egress`; nothing leaves without a consent that holds.
"""
