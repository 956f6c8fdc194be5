# shellcheck shell=sh disable=SC2034
ADDRESS=$HOST_IP
PUBLIC=$ADDRESS
