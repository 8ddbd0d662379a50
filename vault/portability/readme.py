"""The README of an export: what each file is, for a person who may not have this program any more."""

from collections.abc import Iterable

from vault.inventory import TABLES
from vault.portability.manifest import MANIFEST, table_file

__all__ = ["readme"]

_TEXT = """\
# Everything that OpenClaw Core kept

**These files are not encrypted.** Whoever can read them reads everything you said. Keep them where only you can,
and delete them when you are done.

| file | what it is |
|---|---|
| `conversations/*.md` | each conversation as text: the branch in use, then what was said beside it |
| `conversations.json` | all conversations as ChatGPT's own export has them, with every branch |
{tables}
| `manifest.json` | of every file above: rows, bytes, SHA-256 |

The tables hold one JSON object a line. Times end in `_ms`: milliseconds since 1970, UTC. What isn't text or a
number is `{{"base64": "…"}}`. `messages.parent_id` names the message that one answers, `sessions.head` the newest
message of the branch in use; files that you attached are in `attachments`.

What isn't here: the key that signs the transparency log, which lies nowhere in the clear and goes into encrypted
backups alone (`claw vault backup`); the keys of the vault itself; the weights of models, which are public files;
the search index and the vault's own bookkeeping, which are made anew. `claw log export` writes the log for other
tools to verify.

To take it back into a vault: `claw vault import` and the name of this folder. Conversations, attached files,
notes, where replies came from, which models were registered, training examples, and what was erased on purpose come
back as they were. The transparency log, the notifications, the counts of bytes sent and how long things are kept
tell of one device alone: they are here to be read, and aren't imported. Neither are skills, permissions and trained
adapters, which decide what the assistant does: agreeing to them can't be imported.
"""


def readme(tables: Iterable[str]) -> str:
    """The text.

    Args:
        tables: Those that are exported.
    """
    rows = [f"| `{table_file(name)}` | {TABLES[name].kind}: {', '.join(TABLES[name].columns)} |" for name in tables]
    assert MANIFEST in _TEXT
    return _TEXT.format(tables="\n".join(rows))
