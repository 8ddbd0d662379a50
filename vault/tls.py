"""Whom we believe at the other end of a connection: TLS 1.3 and a certificate, nothing less."""

import ssl

from vault.errors import SettingsError
from vault.settings import NetworkSettings

__all__ = ["client_context"]


def client_context(settings: NetworkSettings) -> ssl.SSLContext:
    """The TLS settings of every connection that leaves this device.

    Raises:
        SettingsError: `network.ca_file` can't be read or holds no certificate.
    """
    # Not ssl.create_default_context(): that one writes session keys to a file when SSLKEYLOGFILE is set.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if not settings.ca_file:
        context.load_default_certs()
        return context
    mend = "Correct it: claw config set network.ca_file FILE (empty for the system's authorities)"
    try:
        context.load_verify_locations(cafile=settings.ca_file)
    except ssl.SSLError as error:
        raise SettingsError(
            f"The certificate file {settings.ca_file} (network.ca_file) holds no PEM certificate.", hint=mend
        ) from error
    except OSError as error:
        raise SettingsError(
            f"The certificate file {settings.ca_file} (network.ca_file) can't be read: {error.strerror}.", hint=mend
        ) from error
    return context
