// Package ext stands in for a module that Traefik takes from its own repository and that the Go module proxy does not have:
// what other editions add to its configuration. This one adds nothing, as upstream's.
package ext

// HTTP is added to the configuration of HTTP.
type HTTP struct{}

// Router is added to a router.
type Router struct{}
