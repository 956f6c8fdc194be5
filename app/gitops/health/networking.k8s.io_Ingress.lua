-- Whether a controller writes its address into an Ingress is the controller's choice.
return { status = "Healthy", message = "published by its controller" }
