-- States: minio/operator, pkg/controller/main-controller.go. Argo CD's own check ends a sync with "Degraded" while the Job that makes the Secrets
-- has not run ("Tenant credentials are not set properly"), and waits for ever for a pool whose size cannot change.
if obj.status == nil or obj.status.currentState == nil or obj.status.currentState == "" then
  return { status = "Progressing", message = "the operator has not said anything yet" }
end
local state = obj.status.currentState
if state == "Initialized" then
  return { status = "Healthy", message = state }
end
local stuck = {
  "^Statefulset not controlled by operator",
  "^Another MinIO Tenant already exists in the namespace",
  "^Different versions across MinIO Pools",
  "^Pool Decommissioning Not Allowed",
  "^Can't modify server count",
}
for _, pattern in ipairs(stuck) do
  if string.find(state, pattern) ~= nil then
    return { status = "Degraded", message = state }
  end
end
return { status = "Progressing", message = state }
