"""How the assistant learns: from one's own examples in a sandbox, and, later, together with others.

`fl_client.training` trains adapters; what was trained becomes the first of the four kinds of delta in
`fl_client.delta`. No part of the assistant takes part in a federation yet.
"""

__all__: list[str] = []
