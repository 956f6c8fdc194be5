#!/bin/sh
# Made by "cdk8s synth"; change site.yaml, overlays/ or constructs/ instead.
# What the platform stands on, in these versions: installed, or upgraded. Needs kubectl, and Helm 3 or 4.
set -eu
cd "$(dirname "$0")"
helm upgrade --install cert-manager cert-manager --repo https://charts.jetstack.io --version v1.21.1 --namespace cert-manager --create-namespace --values cert-manager.yaml --wait
helm upgrade --install cloudnative-pg cloudnative-pg --repo https://cloudnative-pg.github.io/charts --version 0.29.0 --namespace cnpg-system --create-namespace --wait
kubectl apply --server-side -k barman-cloud-plugin
helm upgrade --install minio-operator operator --repo https://operator.min.io --version 7.1.1 --namespace minio-operator --create-namespace --wait
helm upgrade --install traefik traefik --repo https://traefik.github.io/charts --version 41.3.0 --namespace traefik --create-namespace --values traefik.yaml --wait
