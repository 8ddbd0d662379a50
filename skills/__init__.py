"""What the assistant can do, and the walls around it.

So far one wall: `skills.sandbox` confines a process of ours to the descriptors it was given.
"""

__all__: list[str] = []
