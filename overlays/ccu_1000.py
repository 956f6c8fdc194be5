"""1000 concurrent users: every elastic worker type has a second instance."""

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
    concurrent_users=1_000,
    postgresql=PostgresSize(instances=3, cpu=cores(1), memory=gib(3), storage=gib(60), wal=gib(16), max_connections=300),
    postgresql_li=PostgresSize(instances=2, cpu=millicores(200), memory=mib(768), storage=gib(30), wal=gib(4), max_connections=60),
    redis=RedisSize(servers=3, memory=mib(128)),
    minio=ErasureSize(nodes=4, drive=gib(60), cpu=millicores(200), memory=mib(768)),
    minio_li=ErasureSize(nodes=4, drive=gib(20), cpu=millicores(50), memory=mib(192)),
    minio_backups=ErasureSize(nodes=4, drive=gib(50), cpu=millicores(50), memory=mib(192)),
    synapse=SynapseSize(
        workers=Workers(
            synchrotron=2,
            event_persister=2,
            client_reader=2,
            federation_sender=2,
            media_repository=2,
            federation_reader=2,
            others=2,
            other_shards=1,
        ),
        light=Resources(millicores(50), mib(160), gib(1)),
        medium=Resources(millicores(100), mib(224), gib(1)),
        heavy=Resources(millicores(150), mib(320), gib(2)),
        main=Resources(millicores(400), mib(512), gib(3)),
        connections=Connections(light=3, medium=5, heavy=8, main=8),
        cache_factor=1.0,
    ),
    synapse_li=SynapseLiSize(Resources(millicores(100), mib(256), gib(2))),
    haproxy=HAProxySize(replicas=2, resources=Resources(millicores(200), mib(128), mib(512))),
    livekit=LiveKitSize(replicas=2, resources=Resources(millicores(500), mib(512), gib(2))),
    coturn=CoturnSize(resources=Resources(millicores(100), mib(64), mib(512)), relayed=600),
    antivirus=AntivirusSize(
        scans=6,
        engine=Resources(millicores(100), mib(1280), gib(3)),
        scans_while_loading=False,
        engines=2,
        worker=Resources(millicores(50), mib(128), mib(384)),
        workers=2,
        most_workers=4,
    ),
    monitoring=MonitoringSize(prometheus=Resources(millicores(200), mib(640), gib(2)), metrics=gib(40), alertmanagers=2),
    logs=LogsSize(
        servers=1, loki=Resources(millicores(150), mib(512), gib(2)), buffer=gib(10), reader=Resources(millicores(100), mib(192), mib(768))
    ),
    envelope=Envelope(cpu=cores(16), memory=gib(32), storage=tib(1)),
)
