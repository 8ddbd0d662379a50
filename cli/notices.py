"""What a person is told when they come to the vault: what was unusual since."""

import time
from typing import TYPE_CHECKING

from cli.console import Console

if TYPE_CHECKING:
    from vault.store import Vault

__all__ = ["show"]


def show(vault: "Vault", console: Console) -> int:
    """Show the notifications that the person hasn't seen; how many there were."""
    from vault.notifications import words

    unseen = vault.notifications.unseen()
    for notification in unseen:
        at = time.strftime("%Y-%m-%d %H:%M", time.localtime(notification.at_ms / 1000))
        console.say(f"[{at}] {words(notification.event)}")
    if not vault.alarm:
        vault.notifications.mark_seen(unseen)
    return len(unseen)
