"""The skills that come with the assistant: for each a folder with its `SKILL.md`, and a package that works."""
