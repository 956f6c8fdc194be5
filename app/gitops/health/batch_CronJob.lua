-- A run that failed last night must not keep today's change from being applied: alerts tell of it.
return { status = "Healthy", message = "runs by its schedule" }
