"""Joining a federation, and leaving it: a key pair for it alone, and a registrar's word that it belongs there."""

import asyncio
import time
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from federation.digests import digest, has_holder
from federation.enrolment import Registrar
from federation.errors import Malformed
from federation.invites import Invite, proof_of
from fl_client.errors import InviteRefused, NotBelieved
from fl_client.participation.consents import Consents
from fl_client.participation.link import Link
from vault.classes import HighlySensitive
from vault.connection import Connection
from vault.consent_store import ConsentStore
from vault.egress import AsyncEgress
from vault.errors import NotFound
from vault.federation_store import FederationRecord, FederationStore
from vault.sanitize import sanitize_line

if TYPE_CHECKING:
    from vault.store import Vault

__all__ = ["Membership", "invited", "joining_text"]

_LOOK_EVERY_S = 1.0


def invited(text: str) -> FederationRecord:
    """The federation of an invite.

    Args:
        text: As a person was given it.

    Raises:
        InviteRefused: it is no invite.
    """
    return _record(_parsed(text))


def joining_text(federation: FederationRecord) -> str:
    """What a person agrees to when this device joins."""
    pins = " or ".join(pin.hex()[:16] for pin in federation.pins)
    return (
        f"To belong to {federation.name}, at {federation.address}.\n"
        f"Its server is known by its key ({pins}), the federation by {federation.id[:16]}.\n"
        "What leaves: a public key that is made for this federation alone, and a proof that you have its invite; "
        "later, questions which tasks and releases there are, and this device's address on the network with each.\n"
        "Nothing is learned and nothing else is sent until you agree to a task.\n"
        f"To end it: claw fl leave {federation.id[:8]}"
    )


class Membership:
    """The federations that a vault's device belongs to.

    Args:
        vault: Open.
    """

    def __init__(self, vault: "Vault") -> None:
        self._vault = vault
        self.store = FederationStore(vault.database)

    def prepare(self, text: str, agreed: str) -> FederationRecord:
        """Keep what an invite says, with a key made for it; nothing is sent yet.

        Args:
            text: The invite.
            agreed: What the person was shown, and agreed to.

        Raises:
            InviteRefused: it is no invite, or this device belongs there already.
        """
        invite = _parsed(text)
        record = _record(invite)
        identity = Ed25519PrivateKey.generate().private_bytes_raw()

        def work(connection: Connection) -> None:
            if connection.execute("SELECT 1 FROM federations WHERE id = ?", (record.id,)).fetchone():
                raise InviteRefused(
                    f"This device asked to join {record.name} before.",
                    hint="`claw fl status` shows what came of it; `claw fl leave` makes an end of it.",
                )
            self.store.put(connection, record, HighlySensitive(identity), HighlySensitive(invite.secret))
            Consents(self._vault).to_belong(record, agreed, connection)

        self._vault.database.write(work)
        return self.store.get(record.id)

    async def ask(self, door: AsyncEgress, federation: FederationRecord, within_s: float) -> bool:
        """Ask to be admitted, and wait a little for the registrar; whether it has.

        Raises:
            Declined: the invite isn't one, or was used up.
            NotBelieved: the orchestrator's answer isn't the registrar's.
            Unreachable: nobody answers. It can be asked again.
        """
        link = self.link(door, federation)
        try:
            secret = self.store.invite(federation.id).reveal()
        except NotFound:
            return True
        federation_digest = bytes.fromhex(federation.id)
        await link.ask_to_join(digest("invite", secret), proof_of(secret, federation_digest, link.device))
        until = time.monotonic() + within_s
        while (certificate := await link.certificate()) is None:
            if time.monotonic() > until:
                return False
            await asyncio.sleep(_LOOK_EVERY_S)
        if not Registrar(federation.registrar, federation_digest).vouches_for(link.device, certificate):
            raise NotBelieved(f"{federation.name} answers with a certificate that its registrar didn't sign.")
        self._vault.database.write(lambda connection: self.store.admit(connection, federation.id, certificate))
        return True

    def link(self, door: AsyncEgress, federation: FederationRecord) -> Link:
        """The way to a federation, with the consent to belong to it.

        Raises:
            NotFound: nobody agreed to that.
        """
        for consent in ConsentStore(self._vault.database).held(federation.id):
            if not consent.task:
                return Link(door, self.store, federation, consent.label)
        raise NotFound(f"You don't belong to {federation.name}.", hint="`claw fl join INVITE` joins it.")

    def leave(self, federation: FederationRecord, *, forget: bool = False) -> int:
        """Withdraw every consent of a federation and forget this device's key there; how many consents held.

        What was taken part in stays on record, and so do the consents' texts, as receipts.

        Args:
            federation: Which.
            forget: Have them go, too.
        """
        consents = Consents(self._vault)
        held = sum(consents.withdraw(consent) for consent in consents.store.held(federation.id))

        def work(connection: Connection) -> None:
            self.store.remove(connection, federation.id)
            if forget:
                for table in ("consents", "participations", "federation_releases"):
                    connection.execute(f"DELETE FROM {table} WHERE federation = ?", (federation.id,))
                connection.execute("UPDATE vault_state SET remains = 1")

        self._vault.database.write(work)
        self._vault.database.clear_away()
        return held


def _parsed(text: str) -> Invite:
    try:
        invite = Invite.parse(text)
    except Malformed as error:
        raise InviteRefused(error.message, hint="Ask for it again, and copy all of it.") from None
    if not (has_holder(invite.registrar) and has_holder(invite.log)):
        raise InviteRefused("That invite names a key that anybody could sign with; don't trust who gave it.")
    return invite


def _record(invite: Invite) -> FederationRecord:
    return FederationRecord(
        invite.federation.hex(),
        sanitize_line(invite.name, 100) or "a federation without a name",
        invite.address,
        invite.pins,
        invite.registrar,
        invite.log,
    )
