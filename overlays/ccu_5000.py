"""5000 concurrent users: every worker type that can be sharded is."""

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
    concurrent_users=5_000,
    postgresql=PostgresSize(instances=3, cpu=cores(3), memory=gib(8), storage=gib(150), wal=gib(32), max_connections=550),
    postgresql_li=PostgresSize(instances=2, cpu=millicores(500), memory=mib(1536), storage=gib(70), wal=gib(8), max_connections=80),
    redis=RedisSize(servers=3, memory=mib(256)),
    minio=ErasureSize(nodes=6, drive=gib(80), cpu=millicores(300), memory=gib(1)),
    minio_li=ErasureSize(nodes=4, drive=gib(30), cpu=millicores(100), memory=mib(384)),
    minio_backups=ErasureSize(nodes=4, drive=gib(120), cpu=millicores(100), memory=mib(384)),
    synapse=SynapseSize(
        workers=Workers(
            synchrotron=4,
            event_persister=2,
            client_reader=4,
            federation_sender=2,
            media_repository=2,
            federation_reader=2,
            others=2,
            other_shards=2,
        ),
        light=Resources(millicores(100), mib(256), gib(1)),
        medium=Resources(millicores(150), mib(384), gib(2)),
        heavy=Resources(millicores(250), mib(512), gib(3)),
        main=Resources(millicores(800), gib(1), gib(4)),
        connections=Connections(light=4, medium=7, heavy=10, main=10),
        cache_factor=2.0,
    ),
    synapse_li=SynapseLiSize(Resources(millicores(200), mib(512), gib(3))),
    haproxy=HAProxySize(replicas=2, resources=Resources(millicores(500), mib(256), gib(1))),
    livekit=LiveKitSize(replicas=3, resources=Resources(millicores(750), gib(1), gib(4))),
    coturn=CoturnSize(resources=Resources(millicores(150), mib(128), gib(1)), relayed=1_500),
    antivirus=AntivirusSize(
        scans=10,
        engine=Resources(millicores(200), mib(1280), gib(4)),
        scans_while_loading=True,
        engines=3,
        worker=Resources(millicores(100), mib(128), mib(384)),
        workers=2,
        most_workers=6,
    ),
    monitoring=MonitoringSize(prometheus=Resources(millicores(400), gib(1), gib(3)), metrics=gib(80), alertmanagers=2),
    logs=LogsSize(
        servers=3, loki=Resources(millicores(200), mib(576), gib(3)), buffer=gib(16), reader=Resources(millicores(200), mib(256), gib(1))
    ),
    envelope=Envelope(cpu=cores(32), memory=gib(64), storage=tib(2)),
)
