"""Text files and piped text that come with a message: read, checked and made harmless."""

import codecs
import os
import stat
from pathlib import Path
from typing import BinaryIO

from agent.errors import AttachmentRefused
from vault.messages import Attachment
from vault.sanitize import sanitize, sanitize_line

__all__ = ["MAX_BYTES", "read_attachment", "read_text"]

MAX_BYTES = 2**20
"""Most bytes of one file or of piped text: far more than any context window holds."""


def read_attachment(path: Path) -> Attachment:
    """Read a text file.

    Raises:
        AttachmentRefused: it is missing, not a plain file, too large, or not text.
    """
    try:
        # Not blocking: a FIFO without a writer would hold us for ever before it could be refused.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise AttachmentRefused(f"{path} can't be read: {error.strerror}.") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise AttachmentRefused(f"{path} is not a plain file.")
    with os.fdopen(descriptor, "rb") as file:
        return Attachment(sanitize_line(path.name), read_text(file, str(path)))


def read_text(file: BinaryIO, name: str) -> str:
    """Read UTF-8 text (UTF-16 with a byte order mark too) to its end.

    Args:
        file: What to read.
        name: What to call it before the person.

    Raises:
        AttachmentRefused: it is too large, or not text.
    """
    try:
        data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise AttachmentRefused(f"{name} can't be read: {error.strerror}.") from error
    if len(data) > MAX_BYTES:
        raise AttachmentRefused(
            f"{name} is too large: more than {MAX_BYTES // 2**20} MiB.",
            hint="No context window holds that much; give the part that matters (head, grep, split).",
        )
    encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise AttachmentRefused(
            f"{name} is not UTF-8 text (byte {error.start} doesn't belong).",
            hint="Convert it first, for example: iconv -f latin1 -t utf-8",
        ) from None
    if "\x00" in text:
        raise AttachmentRefused(f"{name} is not text: it holds zero bytes.", hint="Only text can be attached.")
    return sanitize(text)
