// Command argocd is what of Argo CD applies things: the controller of Applications, that of ApplicationSets, and the server of repositories.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	applications "github.com/argoproj/argo-cd/v3/cmd/argocd-application-controller/commands"
	applicationsets "github.com/argoproj/argo-cd/v3/cmd/argocd-applicationset-controller/commands"
	repositories "github.com/argoproj/argo-cd/v3/cmd/argocd-repo-server/commands"
)

func main() {
	programs := map[string]func() *cobra.Command{
		"applications":    applications.NewCommand,
		"applicationsets": applicationsets.NewCommand,
		"repositories":    repositories.NewCommand,
	}
	if len(os.Args) < 2 || programs[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: argocd applications|applicationsets|repositories [flags]")
		os.Exit(2)
	}
	command := programs[os.Args[1]]()
	os.Args = append(os.Args[:1], os.Args[2:]...)
	if command.Execute() != nil {
		os.Exit(1)
	}
}
