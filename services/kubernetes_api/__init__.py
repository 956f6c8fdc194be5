"""What programs of ours share that ask the Kubernetes API from a pod."""
