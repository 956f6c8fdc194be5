"""20000 concurrent users."""

from kit.quantities import Resources, cores, gib, mib, millicores, tib
from overlays.profile import (
    AntivirusSize,
    Connections,
    CoturnSize,
    Envelope,
    ErasureSize,
    HAProxySize,
    LiveKitSize,
    LogsSize,
    MonitoringSize,
    PostgresSize,
    Profile,
    RedisSize,
    SynapseLiSize,
    SynapseSize,
    Workers,
)

PROFILE = Profile(
    concurrent_users=20_000,
    postgresql=PostgresSize(instances=4, cpu=cores(10), memory=gib(24), storage=gib(600), wal=gib(100), max_connections=1200),
    postgresql_li=PostgresSize(instances=2, cpu=cores(2), memory=gib(6), storage=gib(160), wal=gib(12), max_connections=80),
    redis=RedisSize(servers=5, memory=gib(1)),
    minio=ErasureSize(nodes=12, drive=gib(160), cpu=millicores(500), memory=gib(2)),
    minio_li=ErasureSize(nodes=4, drive=gib(100), cpu=millicores(250), memory=gib(1)),
    minio_backups=ErasureSize(nodes=4, drive=gib(480), cpu=millicores(250), memory=gib(1)),
    synapse=SynapseSize(
        workers=Workers(
            synchrotron=16,
            event_persister=8,
            client_reader=16,
            federation_sender=8,
            media_repository=8,
            federation_reader=8,
            others=2,
            other_shards=2,
        ),
        light=Resources(millicores(150), mib(512), gib(2)),
        medium=Resources(millicores(300), mib(768), gib(3)),
        heavy=Resources(millicores(500), mib(896), gib(4)),
        main=Resources(cores(1), gib(3), gib(8)),
        connections=Connections(light=4, medium=4, heavy=6, main=10),
        cache_factor=4.0,
    ),
    synapse_li=SynapseLiSize(Resources(millicores(500), gib(2), gib(6))),
    haproxy=HAProxySize(replicas=4, resources=Resources(cores(2), mib(768), gib(2))),
    livekit=LiveKitSize(replicas=7, resources=Resources(millicores(1500), gib(2), gib(8))),
    coturn=CoturnSize(resources=Resources(millicores(250), mib(192), gib(1)), relayed=3_000),
    antivirus=AntivirusSize(
        scans=10,
        engine=Resources(millicores(500), mib(1280), gib(4)),
        scans_while_loading=True,
        engines=6,
        worker=Resources(millicores(250), mib(128), mib(512)),
        workers=4,
        most_workers=12,
    ),
    monitoring=MonitoringSize(prometheus=Resources(cores(1), gib(4), gib(10)), metrics=gib(240), alertmanagers=2),
    logs=LogsSize(
        servers=3, loki=Resources(millicores(800), gib(2), gib(8)), buffer=gib(50), reader=Resources(millicores(800), mib(512), gib(2))
    ),
    envelope=Envelope(cpu=cores(128), memory=gib(256), storage=tib(8)),
)
