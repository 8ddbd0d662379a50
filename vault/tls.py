"""Whom we believe at the other end of a connection: TLS 1.3 and a certificate, nothing less."""

import ssl

from vault.errors import SettingsError
from vault.pinning import Pin, pin_context
from vault.settings import NetworkSettings

__all__ = ["client_context"]


def client_context(settings: NetworkSettings, pins: tuple[Pin, ...] = ()) -> ssl.SSLContext:
    """The TLS settings of a connection that leaves this device.

    Args:
        settings: Which authorities are trusted, for destinations that aren't pinned.
        pins: Of the destination's key; they take the place of authorities (`vault.pinning` says why).

    Raises:
        SettingsError: `network.ca_file` can't be read or holds no certificate.
    """
    # Not ssl.create_default_context(): that one writes session keys to a file when SSLKEYLOGFILE is set.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if pins:
        pin_context(context, pins)
    elif settings.ca_file:
        _trust(context, settings.ca_file)
    else:
        context.load_default_certs()
    return context


def _trust(context: ssl.SSLContext, ca_file: str) -> None:
    mend = "Correct it: claw config set network.ca_file FILE (empty for the system's authorities)"
    try:
        context.load_verify_locations(cafile=ca_file)
    except ssl.SSLError as error:
        raise SettingsError(
            f"The certificate file {ca_file} (network.ca_file) holds no PEM certificate.", hint=mend
        ) from error
    except OSError as error:
        raise SettingsError(
            f"The certificate file {ca_file} (network.ca_file) can't be read: {error.strerror}.", hint=mend
        ) from error
