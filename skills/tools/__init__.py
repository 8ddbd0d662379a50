"""What the assistant can do: typed functions that say, before they do anything, exactly what they would do.

A tool plans a call and never acts on its own: `skills.permissions` decides, asks, and has the plan carried out.
"""

from skills.tools.tool import Effect, Plan, Resource, Running, Tool

__all__ = ["Effect", "Plan", "Resource", "Running", "Tool"]
