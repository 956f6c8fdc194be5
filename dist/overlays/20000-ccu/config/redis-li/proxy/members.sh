# What the scripts know of the set: read by common.sh.
GROUP=primary
MAJORITY=3
# Pod, name of its Service, port of the server, port of the Sentinel.
MEMBERS='redis-li-0 redis-li-0.matrix-li.svc.cluster.local 6379 26379
redis-li-1 redis-li-1.matrix-li.svc.cluster.local 6379 26379
redis-li-2 redis-li-2.matrix-li.svc.cluster.local 6379 26379
redis-li-3 redis-li-3.matrix-li.svc.cluster.local 6379 26379
redis-li-4 redis-li-4.matrix-li.svc.cluster.local 6379 26379'
