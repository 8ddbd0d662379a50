"""What a person is told when they come to the vault: what was unusual since."""

from typing import TYPE_CHECKING

from cli.console import Console

if TYPE_CHECKING:
    from vault.store import Vault

__all__ = ["show"]


def show(vault: "Vault", console: Console) -> int:
    """Show the notifications that the person hasn't seen; how many there were."""
    from vault.clock import local_time
    from vault.notifications import words

    unseen = vault.notifications.unseen()
    for notification in unseen:
        console.say(f"[{local_time(notification.at_ms)}] {words(notification.event)}")
    if not vault.alarm:
        vault.notifications.mark_seen(unseen)
    return len(unseen)
