-- Health of an OptimizedModel: what kstatus says, in Argo CD's words; a model on hold is Suspended.
local hs = {status = "Progressing", message = "the operator has not read this generation yet"}
if obj.status == nil or obj.status.conditions == nil then
  return hs
end
if obj.status.observedGeneration ~= obj.metadata.generation then
  return hs
end
local found = {}
for _, condition in ipairs(obj.status.conditions) do
  found[condition.type] = condition
end
local ready, stalled, reconciling = found["Ready"], found["Stalled"], found["Reconciling"]
if ready ~= nil then
  hs.message = ready.message
end
if stalled ~= nil and stalled.status == "True" then
  hs.status = "Degraded"
  hs.message = stalled.reason .. ": " .. stalled.message
elseif reconciling ~= nil and reconciling.status == "True" then
  if reconciling.reason == "Suspended" then
    hs.status = "Suspended"
  end
  hs.message = reconciling.reason .. ": " .. reconciling.message
elseif ready ~= nil and ready.status == "True" then
  hs.status = "Healthy"
end
return hs
