// Command argocd is the parts of Argo CD that synchronise, in one program, and the kustomize that they run.
//
// Left out are the API server with its pages, the command line, notifications and plugins: nothing of them decides what is applied.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"k8s.io/klog/v2"
	"sigs.k8s.io/kustomize/kustomize/v5/commands"

	controller "github.com/argoproj/argo-cd/v3/cmd/argocd-application-controller/commands"
	applicationsets "github.com/argoproj/argo-cd/v3/cmd/argocd-applicationset-controller/commands"
	repositories "github.com/argoproj/argo-cd/v3/cmd/argocd-repo-server/commands"
	"github.com/argoproj/argo-cd/v3/util/log"
)

func main() {
	programs := map[string]func() *cobra.Command{
		"application-controller":    controller.NewCommand,
		"applicationset-controller": applicationsets.NewCommand,
		"repo-server":               repositories.NewCommand,
		"kustomize":                 commands.NewDefaultCommand,
	}
	if len(os.Args) < 2 || programs[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: argocd application-controller|applicationset-controller|repo-server|kustomize [flags]")
		os.Exit(2)
	}
	// As upstream's own main does, which also switches off what gRPC would ask a resolver: nothing here switches it on.
	klog.SetLogger(log.NewLogrusLogger(log.NewWithCurrentConfig()))

	command := programs[os.Args[1]]()
	os.Args = append(os.Args[:1], os.Args[2:]...)
	if command.Execute() != nil {
		os.Exit(1)
	}
}
