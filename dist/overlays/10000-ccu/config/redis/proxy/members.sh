# What the scripts know of the set: read by common.sh.
GROUP=primary
MAJORITY=3
# Pod, name of its Service, port of the server, port of the Sentinel.
MEMBERS='redis-0 redis-0.matrix.svc.cluster.local 6379 26379
redis-1 redis-1.matrix.svc.cluster.local 6379 26379
redis-2 redis-2.matrix.svc.cluster.local 6379 26379
redis-3 redis-3.matrix.svc.cluster.local 6379 26379
redis-4 redis-4.matrix.svc.cluster.local 6379 26379'
