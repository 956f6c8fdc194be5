"""10000 concurrent users."""

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
    concurrent_users=10_000,
    postgresql=PostgresSize(instances=3, cpu=cores(6), memory=gib(12), storage=gib(300), wal=gib(64), max_connections=900),
    postgresql_li=PostgresSize(instances=2, cpu=cores(1), memory=gib(4), storage=gib(150), wal=gib(12), max_connections=80),
    redis=RedisSize(servers=5, memory=mib(512)),
    minio=ErasureSize(nodes=8, drive=gib(120), cpu=millicores(500), memory=gib(2)),
    minio_li=ErasureSize(nodes=4, drive=gib(60), cpu=millicores(200), memory=gib(1)),
    minio_backups=ErasureSize(nodes=4, drive=gib(240), cpu=millicores(200), memory=gib(1)),
    synapse=SynapseSize(
        workers=Workers(
            synchrotron=8,
            event_persister=4,
            client_reader=8,
            federation_sender=4,
            media_repository=4,
            federation_reader=4,
            others=2,
            other_shards=2,
        ),
        light=Resources(millicores(150), mib(384), gib(2)),
        medium=Resources(millicores(250), mib(512), gib(3)),
        heavy=Resources(millicores(400), mib(768), gib(4)),
        main=Resources(cores(1), gib(2), gib(6)),
        connections=Connections(light=4, medium=7, heavy=9, main=10),
        cache_factor=3.0,
    ),
    synapse_li=SynapseLiSize(Resources(millicores(300), gib(1), gib(4))),
    haproxy=HAProxySize(replicas=3, resources=Resources(cores(1), mib(512), gib(1))),
    livekit=LiveKitSize(replicas=5, resources=Resources(cores(1), mib(1536), gib(6))),
    coturn=CoturnSize(resources=Resources(millicores(200), mib(192), gib(1)), relayed=2_000),
    antivirus=AntivirusSize(
        scans=10,
        engine=Resources(millicores(250), mib(1280), gib(4)),
        scans_while_loading=True,
        engines=4,
        worker=Resources(millicores(200), mib(128), mib(512)),
        workers=3,
        most_workers=8,
    ),
    monitoring=MonitoringSize(prometheus=Resources(millicores(600), gib(2), gib(6)), metrics=gib(160), alertmanagers=2),
    logs=LogsSize(
        servers=3, loki=Resources(millicores(400), gib(1), gib(4)), buffer=gib(32), reader=Resources(millicores(400), mib(384), gib(1))
    ),
    envelope=Envelope(cpu=cores(64), memory=gib(128), storage=tib(4)),
)
