-- Argo CD's own check reads the reason of a phase that a new Cluster has not got, and calls a switchover or a new configuration "Degraded",
-- which ends a sync while everything goes as it should. Phases: cloudnative-pg, api/v1/cluster_types.go.
local stuck = {
  ["Waiting for user action"] = true,
  ["Cluster upgrade delayed"] = true,
  ["Unable to create required cluster objects"] = true,
  ["Cluster cannot proceed to reconciliation due to an unknown plugin being required"] = true,
  ["Cluster has incomplete or invalid image catalog"] = true,
  ["Cluster is unrecoverable and needs manual intervention"] = true,
  ["Cluster cannot execute instance online upgrade due to missing architecture binary"] = true,
}
if obj.status == nil or obj.status.phase == nil then
  return { status = "Progressing", message = "the operator has not said anything yet" }
end
local message = obj.status.phase
if obj.status.phaseReason ~= nil and obj.status.phaseReason ~= "" then
  message = message .. ": " .. obj.status.phaseReason
end
if obj.status.phase == "Cluster in healthy state" then
  return { status = "Healthy", message = message }
end
if stuck[obj.status.phase] then
  return { status = "Degraded", message = message }
end
return { status = "Progressing", message = message }
