"""Announces the Wyoming service on the local network by multicast DNS, so that Home Assistant finds it."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from daemon.config.wyoming_options import Address

SERVICE = "_wyoming._tcp.local."
RETRY_SECONDS = 10.0  # s; a machine that boots may have no network yet
ADDRESS_CHECK_SECONDS = 30.0  # s between two looks at our addresses
OUTSIDE = "224.0.0.251"  # the multicast address of mDNS: the way there shows which of our addresses others see
ANY, ANY_6 = "0.0.0.0", "::"  # noqa: S104 - what to recognise, not what to listen at

log = logging.getLogger(__name__)


@asynccontextmanager
async def announced(name: str | None, address: Address) -> AsyncIterator[None]:
    """While inside, the service is announced under this name; None: it is not."""
    task = asyncio.create_task(_announce(name, address)) if name is not None else None
    try:
        yield
    finally:
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _announce(name: str, address: Address) -> None:
    """Announce until cancelled, anew where the addresses change (a new lease, another network); then take it back."""
    from zeroconf import Error
    from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

    # a host of our own: by zeroconf's default it is the service's name, and of two machines with that name the second
    # would put its address in the place of the first one's
    host = f"chimed-{secrets.token_hex(6)}.local."
    complained = False
    while True:
        try:
            found = await _addresses(address.host)
            info = AsyncServiceInfo(SERVICE, f"{name}.{SERVICE}", port=address.port, addresses=found, server=host)
            responder = AsyncZeroconf()
        except Error as error:  # a name with characters that no name may have
            log.warning("cannot announce the service as %r: %s", name, error)
            return
        except OSError as error:
            log.log(logging.DEBUG if complained else logging.WARNING, "cannot announce the service yet: %s", error)
            complained = True
            await asyncio.sleep(RETRY_SECONDS)
            continue
        try:
            await responder.async_register_service(info, allow_name_change=True)
            log.info("announced as %s", info.name)
            while await _unchanged(address.host, found):
                await asyncio.sleep(ADDRESS_CHECK_SECONDS)
        except (OSError, Error) as error:
            log.warning("cannot announce the service: %s", error)
            return
        finally:
            await asyncio.shield(_withdraw(responder))


async def _unchanged(host: str, before: list[bytes]) -> bool:
    try:
        return sorted(await _addresses(host)) == sorted(before)
    except OSError:
        return True  # no network for a while; what was announced may be right again


async def _withdraw(responder: object) -> None:
    await responder.async_unregister_all_services()  # type: ignore[attr-defined]
    await responder.async_close()  # type: ignore[attr-defined]


async def _addresses(host: str) -> list[bytes]:
    """What others connect to: the host itself, or, where it stands for all, the addresses that they see.

    Raises OSError where there is none (yet).
    """
    if host == ANY:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((OUTSIDE, 1))
            return [socket.inet_aton(probe.getsockname()[0])]
    if host == ANY_6:
        import ifaddr  # zeroconf needs it too

        own = [ipaddress.IPv6Address(ip.ip[0]) for card in ifaddr.get_adapters() for ip in card.ips if ip.is_IPv6]
        if reachable := [ip.packed for ip in own if not (ip.is_loopback or ip.is_link_local)]:
            return reachable
        raise OSError("this machine has no IPv6 address that others can reach")
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [socket.inet_pton(family, str(place[0]).partition("%")[0]) for family, _, _, _, place in found]
