"""100 concurrent users: everything is there and the data is redundant, at the smallest cost."""

from kit.quantities import Resources, cores, gib, mib, millicores
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
    concurrent_users=100,
    postgresql=PostgresSize(instances=2, cpu=millicores(500), memory=mib(1360), storage=gib(20), wal=gib(8), max_connections=168),
    postgresql_li=PostgresSize(instances=2, cpu=millicores(100), memory=mib(384), storage=gib(20), wal=gib(4), max_connections=30),
    redis=RedisSize(servers=3, memory=mib(64)),
    minio=ErasureSize(nodes=4, drive=gib(20), cpu=millicores(100), memory=mib(288)),
    minio_li=ErasureSize(nodes=4, drive=gib(8), cpu=millicores(50), memory=mib(144)),
    minio_backups=ErasureSize(nodes=4, drive=gib(14), cpu=millicores(50), memory=mib(144)),
    synapse=SynapseSize(
        workers=Workers(
            synchrotron=1,
            event_persister=1,
            client_reader=1,
            federation_sender=1,
            media_repository=1,
            federation_reader=1,
            others=1,
            other_shards=1,
        ),
        light=Resources(millicores(30), mib(136), mib(512)),
        medium=Resources(millicores(50), mib(144), mib(768)),
        heavy=Resources(millicores(80), mib(160), gib(1)),
        main=Resources(millicores(200), mib(256), gib(2)),
        connections=Connections(light=3, medium=4, heavy=4, main=6),
        cache_factor=0.5,
    ),
    synapse_li=SynapseLiSize(Resources(millicores(50), mib(160), gib(1))),
    haproxy=HAProxySize(replicas=2, resources=Resources(millicores(50), mib(64), mib(256))),
    livekit=LiveKitSize(replicas=1, resources=Resources(millicores(250), mib(192), gib(1))),
    coturn=CoturnSize(resources=Resources(millicores(50), mib(48), mib(256)), relayed=60),
    antivirus=AntivirusSize(
        scans=4,
        engine=Resources(millicores(50), mib(1280), gib(3)),
        scans_while_loading=False,
        engines=2,
        worker=Resources(millicores(30), mib(96), mib(256)),
        workers=2,
        most_workers=4,
    ),
    monitoring=MonitoringSize(prometheus=Resources(millicores(100), mib(256), gib(1)), metrics=gib(20), alertmanagers=1),
    logs=LogsSize(
        servers=1, loki=Resources(millicores(50), mib(192), gib(1)), buffer=gib(5), reader=Resources(millicores(50), mib(96), mib(512))
    ),
    envelope=Envelope(cpu=cores(8), memory=gib(16), storage=gib(500)),
)
