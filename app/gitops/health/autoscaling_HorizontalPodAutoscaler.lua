-- Until the first metrics of new pods are there an autoscaler says that it has none, which is nothing to wait for.
return { status = "Healthy", message = "scales when there are metrics" }
