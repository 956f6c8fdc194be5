// Usage: alloy validate FILE | alloy run FILE --storage.path=FOLDER --server.http.listen-addr=ADDRESS [...] | alloy stages FILE
//
// Grafana Alloy with its own code: its parser, validator, runtime and services. Of its components it has those alone that the platform uses: all of
// them, and the converters of other agents' configuration, are 3,000 packages more. `validate` and `run` do what Alloy's own commands do, with
// clustering, reports and tracing off. `stages` passes each line of standard input through those of the file's loki.process, as Alloy runs them, and
// answers with a JSON object of the line and its level.
//
// The module is called as it is because Go lets nobody else use what Alloy keeps in internal/.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/spf13/pflag"

	"github.com/grafana/alloy/internal/component"
	"github.com/grafana/alloy/internal/component/common/loki"
	_ "github.com/grafana/alloy/internal/component/discovery/kubernetes"
	_ "github.com/grafana/alloy/internal/component/discovery/relabel"
	"github.com/grafana/alloy/internal/component/loki/process"
	"github.com/grafana/alloy/internal/component/loki/process/stages"
	_ "github.com/grafana/alloy/internal/component/loki/source/kubernetes"
	_ "github.com/grafana/alloy/internal/component/loki/write"
	"github.com/grafana/alloy/internal/featuregate"
	"github.com/grafana/alloy/internal/runtime"
	"github.com/grafana/alloy/internal/runtime/logging"
	"github.com/grafana/alloy/internal/service"
	"github.com/grafana/alloy/internal/service/cluster"
	"github.com/grafana/alloy/internal/service/http"
	"github.com/grafana/alloy/internal/service/livedebugging"
	"github.com/grafana/alloy/internal/service/remotecfg"
	"github.com/grafana/alloy/internal/validator"
	"github.com/grafana/alloy/syntax/ast"
	"github.com/grafana/alloy/syntax/parser"
	"github.com/grafana/alloy/syntax/vm"
)

const stability = featuregate.StabilityGenerallyAvailable

func main() {
	commands := map[string]func(string, []byte, []string) error{"validate": validate, "run": run, "stages": pass}
	if len(os.Args) < 3 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: alloy validate|run|stages FILE [OPTION...]")
		os.Exit(2)
	}
	text, err := os.ReadFile(os.Args[2])
	if err == nil {
		err = commands[os.Args[1]](os.Args[2], text, os.Args[3:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// validate does what cmd_validate.go does.
func validate(name string, text []byte, _ []string) error {
	sources := map[string][]byte{name: text}
	options := validator.Options{
		Sources:            sources,
		ServiceDefinitions: definitions(&cluster.Service{}, &http.Service{}, &livedebugging.Service{}, &remotecfg.Service{}),
		ComponentRegistry:  component.NewDefaultRegistry(stability, false),
		MinStability:       stability,
	}
	if err := validator.Validate(options); err != nil {
		validator.Report(os.Stderr, err, sources)
		return fmt.Errorf("validation failed")
	}
	return nil
}

func definitions(services ...service.Service) (found []service.Definition) {
	for _, one := range services {
		found = append(found, one.Definition())
	}
	return found
}

// run does what cmd_run.go does, until SIGTERM.
func run(name string, text []byte, arguments []string) error {
	flags := pflag.NewFlagSet("run", pflag.ContinueOnError)
	storage := flags.String("storage.path", "data-alloy/", "")
	address := flags.String("server.http.listen-addr", "127.0.0.1:12345", "")
	profiles := flags.Bool("server.http.enable-pprof", true, "")
	bundle := flags.Bool("server.http.disable-support-bundle", false, "")
	flags.Bool("disable-reporting", false, "")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log, err := logging.NewDeferred(os.Stderr)
	if err != nil {
		return err
	}
	metrics := prometheus.DefaultRegisterer
	alone, err := cluster.New(cluster.Options{Log: log.Slog(), Metrics: metrics, NodeName: "alone", AdvertiseAddress: *address})
	if err != nil {
		return err
	}
	remote, err := remotecfg.New(remotecfg.Options{Logger: log.Slog(), ConfigPath: name, StoragePath: *storage, Metrics: metrics})
	if err != nil {
		return err
	}
	var alloy *runtime.Runtime
	server := http.New(http.Options{
		Logger: log, Gatherer: prometheus.DefaultGatherer, HTTPListenAddr: *address, MemoryListenAddr: "alloy.internal:12345",
		ReadyFunc:   func() bool { return alloy.Ready() },
		ReloadFunc:  func() error { return fmt.Errorf("not reloaded") },
		EnablePProf: *profiles, MinStability: stability, BundleContext: http.SupportBundleContext{DisableSupportBundle: *bundle},
	})
	alloy, err = runtime.New(runtime.Options{
		Logger: log, DataPath: *storage, Reg: metrics, MinStability: stability,
		Services: []service.Service{alone, server, livedebugging.New(), remote},
	})
	if err != nil {
		return err
	}
	source, err := runtime.ParseSource(name, text)
	if err != nil {
		return err
	}
	server.SetSources(source.SourceFiles())
	ended := make(chan struct{})
	go func() {
		alloy.Run(ctx)
		close(ended)
	}()
	if err := alloy.LoadSource(source, nil, name); err != nil {
		return err
	}
	<-ended
	return nil
}

// pass sends standard input through the stages.
func pass(name string, text []byte, _ []string) error {
	file, err := parser.ParseFile(name, text)
	if err != nil {
		return err
	}
	configured, err := stagesOf(file)
	if err != nil {
		return err
	}
	pipeline, err := stages.NewPipeline(slog.Default(), configured, prometheus.NewRegistry(), stability)
	if err != nil {
		return err
	}
	lines, said := make(chan loki.Entry), make(chan loki.Entry)
	defer pipeline.Start(lines, said).Stop()
	output := json.NewEncoder(os.Stdout)
	output.SetEscapeHTML(false)
	input := bufio.NewScanner(os.Stdin)
	input.Buffer(nil, 1<<20)
	for input.Scan() {
		entry := loki.Entry{Labels: model.LabelSet{}}
		entry.Line, entry.Timestamp = input.Text(), time.Now()
		lines <- entry
		read := <-said
		if err := output.Encode(map[string]any{"line": read.Line, "level": read.Labels["level"]}); err != nil {
			return err
		}
	}
	return input.Err()
}

// stagesOf are those of the one loki.process.
func stagesOf(file *ast.File) ([]stages.StageConfig, error) {
	for _, statement := range file.Body {
		if block, ok := statement.(*ast.BlockStmt); ok && strings.Join(block.Name, ".") == "loki.process" {
			var arguments process.Arguments
			receiver := map[string]any{"loki": map[string]any{"receiver": loki.NewLogsReceiver()}}
			scope := vm.NewScope(map[string]any{"loki": map[string]any{"write": receiver}})
			err := vm.New(block.Body).Evaluate(scope, &arguments)
			return arguments.Stages, err
		}
	}
	return nil, fmt.Errorf("there is no loki.process")
}
