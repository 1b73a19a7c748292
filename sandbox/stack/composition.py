"""What a stack consists of: from the options, its children and tasks in their order, and their addresses.

Makes the data directories and writes the settings of the parts. Driven by `stack`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sandbox.stack import kafka, postgres, s3, services
from sandbox.stack.credentials import Credentials, load_credentials
from sandbox.stack.description import Addresses
from sandbox.stack.layout import Layout
from sandbox.stack.options import Part, StackOptions
from sandbox.stack.ports import choose_ports
from sandbox.stack.spec import ChildSpec, TaskSpec

__all__ = ["Composer", "Composition", "compose"]


@dataclass(frozen=True, kw_only=True)
class Composition:
    """A stack before it runs."""

    addresses: Addresses
    items: tuple[ChildSpec | TaskSpec, ...]


Composer = Callable[[StackOptions, Layout], Composition]
"""Makes a composition; tests have their own."""


def compose(options: StackOptions, layout: Layout) -> Composition:
    """Choose ports, make secrets and directories, and describe what is to run."""
    credentials = load_credentials(layout.secrets)
    ports = choose_ports(list(_port_names(options)), layout.ports)
    parts, items, links = options.parts, list[ChildSpec | TaskSpec](), list[tuple[str, int, int]]()
    kafka_address = postgres_uri = None
    if Part.KAFKA in parts:
        cluster = kafka.brokers(options.brokers, ports=ports, layout=layout, proxied=options.proxied, data=options.data)
        links += [(broker.name, broker.port, broker.listener_port) for broker in cluster]
        items += kafka.kafka_items(cluster, cluster_id=credentials.kafka_cluster_id)
        kafka_address = ",".join(broker.address for broker in cluster)
    if Part.POSTGRES in parts:
        server = postgres.plan_server(
            layout,
            port=ports["postgres"],
            superuser_password=credentials.postgres_superuser_password,
            owner_password=credentials.postgres_password,
            home=options.data.get("postgres"),
        )
        items += postgres.postgres_items(server)
        postgres_uri = server.uri
    if Part.S3 in parts:
        keys = {"access_key": credentials.s3_access_key, "secret_key": credentials.s3_secret_key}
        items.append(s3.s3_child(layout, ports=ports, **keys))
    if Part.CARD_NETWORK in parts:
        network_ports = {"port": ports["card-network"], "iso_port": ports["card-network-iso"]}
        items.append(services.card_network_child(options, layout=layout, **network_ports))
    links += [(name, ports[f"{name}-proxied"], ports[name]) for name in _proxied(options)]
    if options.proxied:
        items.insert(0, services.proxy_child(links, control=ports["proxy"]))
    addresses = _addresses(options, ports, credentials, kafka_address=kafka_address, postgres_uri=postgres_uri)
    environment = _environment(addresses, credentials, partitions=options.partitions, brokers=options.brokers)
    environment |= _through_proxies(options, environment, ports)
    if options.settlement_cut_off is not None:
        cut_offs = [f"{processor}={options.settlement_cut_off}" for processor in ("cardnet", "isonet")]
        environment[services.SETTLEMENT_CUT_OFFS] = ",".join(cut_offs)
    infrastructure = frozenset(item.name for item in items)
    items += services.paystream_items(options, environment=environment, ports=ports, infrastructure=infrastructure)
    return Composition(addresses=addresses, items=tuple(items))


def _port_names(options: StackOptions) -> Iterator[str]:
    if Part.KAFKA in options.parts:
        yield from kafka.port_names(options.brokers, proxied=options.proxied)
    if Part.POSTGRES in options.parts:
        yield "postgres"
    if Part.S3 in options.parts:
        yield from s3.PORT_NAMES
    if Part.CARD_NETWORK in options.parts:
        yield "card-network"
        yield "card-network-iso"
    yield from (process.name for process in services.service_processes(options))
    yield from (f"{name}-proxied" for name in _proxied(options))
    if options.proxied:
        yield "proxy"


def _proxied(options: StackOptions) -> list[str]:
    """The servers, Kafka aside, that have a second address behind a proxy."""
    servers = (
        (Part.POSTGRES, "postgres"),
        (Part.CARD_NETWORK, "card-network"),
        (Part.CARD_NETWORK, "card-network-iso"),
    )
    return [name for part, name in servers if options.proxied and part in options.parts]


def _through_proxies(options: StackOptions, environment: dict[str, str], ports: dict[str, int]) -> dict[str, str]:
    """What Paystream's processes are told instead, so that they come through the proxies."""
    names = {
        "postgres": "PAYSTREAM_POSTGRES_URI",
        "card-network": "PAYSTREAM_CARD_NETWORK_URL",
        "card-network-iso": services.ISO8583_ADDRESS,
    }
    return {
        names[name]: environment[names[name]].replace(f":{ports[name]}", f":{ports[f'{name}-proxied']}")
        for name in _proxied(options)
    }


def _addresses(
    options: StackOptions,
    ports: dict[str, int],
    credentials: Credentials,
    *,
    kafka_address: str | None,
    postgres_uri: str | None,
) -> Addresses:
    def url(name: str) -> str:
        return f"http://127.0.0.1:{ports[name]}"

    def address(name: str) -> str:
        return f"127.0.0.1:{ports[name]}"

    processes = services.service_processes(options)
    return Addresses(
        kafka=kafka_address,
        postgres=postgres_uri,
        s3=url("s3") if Part.S3 in options.parts else None,
        card_network=url("card-network") if Part.CARD_NETWORK in options.parts else None,
        card_network_iso8583=address("card-network-iso") if Part.CARD_NETWORK in options.parts else None,
        ingress_processes=tuple(url(process.name) for process in processes if process.part is Part.INGRESS),
        services={process.name: url(process.name) for process in processes},
        api_key=credentials.api_key,
        proxy=url("proxy") if options.proxied else None,
        s3_access_key=credentials.s3_access_key,
        s3_secret_key=credentials.s3_secret_key,
    )


def _environment(addresses: Addresses, credentials: Credentials, *, partitions: int, brokers: int) -> dict[str, str]:
    """What Paystream's processes are told; what a partial stack lacks is left out."""
    settings = {
        "PAYSTREAM_KAFKA_BOOTSTRAP": addresses.kafka,
        "PAYSTREAM_POSTGRES_URI": addresses.postgres,
        "PAYSTREAM_CARD_NETWORK_URL": addresses.card_network,
        services.ISO8583_ADDRESS: addresses.card_network_iso8583,
        "PAYSTREAM_PUBLIC_URL": addresses.ingress,
        "PAYSTREAM_API_KEYS": f"{addresses.api_key}={services.MERCHANT}",
        "PAYSTREAM_CLIENT_SECRET_KEY": credentials.client_secret_key,
        "PAYSTREAM_PARTITIONS": str(partitions),
        "PAYSTREAM_REPLICATION_FACTOR": str(brokers),
        "PAYSTREAM_TEST_CLOCK": "on",
    }
    return {key: value for key, value in settings.items() if value is not None}
