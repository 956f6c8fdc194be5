"""What GitOps tools and Helm read of `dist/`: the operators by pinned reference, and for Argo CD and Flux where the platform stands."""
