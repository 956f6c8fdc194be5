// Usage: cnpg-exporter DATA QUERIES ADDRESS
//
// The exporter of CloudNativePG for a PostgreSQL that no operator has made: that of folder DATA, at the socket and port that PGHOST and PGPORT name.
// QUERIES is a file with the operator's default ones. Its instance manager sets them up the same way, from objects of Kubernetes
// (internal/management/controller/instance_controller.go); what it knows of its Cluster is missing here, and counted as errors.
package main

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	apiv1 "github.com/cloudnative-pg/cloudnative-pg/api/v1"
	"github.com/cloudnative-pg/cloudnative-pg/pkg/management/postgres"
	"github.com/cloudnative-pg/cloudnative-pg/pkg/management/postgres/metrics"
	"github.com/cloudnative-pg/cloudnative-pg/pkg/management/postgres/webserver/metricserver"
)

// noPlugins is what is said where no plugin is.
type noPlugins struct{}

func (noPlugins) Collect(context.Context, chan<- prometheus.Metric, *apiv1.Cluster) error { return nil }
func (noPlugins) Describe(context.Context, chan<- *prometheus.Desc, *apiv1.Cluster)       {}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: cnpg-exporter DATA QUERIES ADDRESS")
		os.Exit(2)
	}
	if err := serve(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(data, queries, address string) error {
	instance := postgres.NewInstance().WithNamespace("matrix").WithPodName("synapse-db-1").WithClusterName("synapse-db")
	instance.PgData = data
	if err := prepare(instance); err != nil {
		return err
	}
	text, err := os.ReadFile(queries)
	if err != nil {
		return err
	}
	collector := metrics.NewQueriesCollector("cnpg", instance, "postgres")
	collector.InjectUserQueries(metricserver.DefaultQueries)
	if err := collector.ParseQueries(text); err != nil {
		return err
	}
	exporter := metricserver.NewExporter(instance, noPlugins{})
	registry := prometheus.NewRegistry()
	// Before it has queries, as upstream does: it would describe them.
	if err := registry.Register(exporter); err != nil {
		return err
	}
	exporter.SetCustomQueries(collector)
	http.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return http.ListenAndServe(address, nil)
}

// prepare makes the role that it asks as, where it may: a standby has it from its primary.
func prepare(instance *postgres.Instance) error {
	primary, err := instance.IsPrimary()
	if err != nil || !primary {
		return err
	}
	database, err := instance.GetSuperUserDB()
	if err != nil {
		return err
	}
	ctx := context.Background()
	change, err := database.BeginTx(ctx, &sql.TxOptions{})
	if err != nil {
		return err
	}
	if err := postgres.SetupMetricsExporterRole(ctx, change); err != nil {
		return err
	}
	return change.Commit()
}
