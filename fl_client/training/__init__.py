"""Learning from private examples: adapters of a model's weights, trained in the sandbox and judged on others.

`fl_client.training.worker` is what runs behind the walls; the rest asks it, and believes none of what it answers
before it has been looked at.
"""

__all__: list[str] = []
