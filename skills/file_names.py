"""What a file of a skill may be called: one rule for what is imported and for what the sandbox lays out.

If they differed, a skill could be imported whose scripts can't be run.
"""

from vault.sanitize import sanitize

__all__ = ["why_not"]

_PART_BYTES = 255
"""What file systems take between two `/`."""


def why_not(name: str) -> str:
    """Say why a file can't have a name; empty where it can.

    Args:
        name: From the folder that it is to stay in, with `/` between folders.

    Returns:
        What follows `The name …` in a sentence, without its full stop.
    """
    try:
        parts = [part.encode() for part in name.split("/")]
    except UnicodeEncodeError:
        return "isn't UTF-8"
    if not name:
        return "is empty"
    if name.startswith("/") or "\\" in name or b".." in parts:
        return "leads out of the folder"
    if b"" in parts or b"." in parts:  # it would be another file's too
        return "isn't spelled in the plainest way"
    if sanitize(name) != name or "\n" in name or "\t" in name:
        return "holds control or invisible characters"
    if max(map(len, parts)) > _PART_BYTES:
        return f"has more than {_PART_BYTES} bytes between two /"
    return ""
