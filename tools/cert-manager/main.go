// Command cert-manager is cert-manager's controller and its webhook in one program.
//
// Upstream's three programs are modules of their own that no module proxy serves; their packages are. Left out are the CA injector, the
// issuers Vault and Venafi, and what needs the Gateway API: the platform uses none of them.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	webhookconfig "github.com/cert-manager/cert-manager/internal/apis/config/webhook"
	"github.com/cert-manager/cert-manager/internal/webhook"
	"github.com/cert-manager/cert-manager/pkg/controller"
	logf "github.com/cert-manager/cert-manager/pkg/logs"

	_ "github.com/cert-manager/cert-manager/pkg/controller/acmechallenges"
	_ "github.com/cert-manager/cert-manager/pkg/controller/acmeorders"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificate-shim/ingresses"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/acme"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/approver"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/ca"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/selfsigned"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/issuing"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/keymanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/readiness"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/requestmanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/revisionmanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/trigger"
	_ "github.com/cert-manager/cert-manager/pkg/controller/clusterissuers"
	_ "github.com/cert-manager/cert-manager/pkg/controller/issuers"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/acme"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/ca"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/selfsigned"
)

func main() {
	namespace := flag.String("namespace", "cert-manager", "where cluster issuers and the webhook keep their secrets")
	address := flag.String("metrics-listen-address", "0.0.0.0:9402", "where the controller tells its metrics")
	names := flag.String("names", "cert-manager-webhook", "DNS names of the webhook, separated by commas")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: cert-manager [flags] controller|webhook")
		flag.PrintDefaults()
	}
	flag.Parse()
	logf.InitLogs()
	ctx, stop := signal.NotifyContext(logf.NewContext(context.Background(), logf.Log), os.Interrupt, syscall.SIGTERM)
	defer stop()

	var err error
	switch flag.Arg(0) {
	case "controller":
		err = runController(ctx, *namespace, *address)
	case "webhook":
		err = runWebhook(ctx, *namespace, strings.Split(*names, ","))
	default:
		flag.Usage()
		os.Exit(2)
	}
	if err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// runController runs every controller that the imports above have registered, and tells their metrics.
func runController(ctx context.Context, namespace, address string) error {
	factory, err := controller.NewContextFactory(ctx, controller.ContextOptions{
		IssuerOptions: controller.IssuerOptions{ClusterResourceNamespace: namespace},
		// The defaults of upstream's flags.
		CertificateOptions: controller.CertificateOptions{
			CertificateRequestMinimumBackoffDuration: time.Hour,
			CertificateRequestMaximumBackoffDuration: 32 * time.Hour,
			CopiedAnnotationPrefixes:                 []string{"*", "-kubectl.kubernetes.io/", "-fluxcd.io/", "-argocd.argoproj.io/"},
		},
		SchedulerOptions:   controller.SchedulerOptions{MaxConcurrentChallenges: 60},
		IngressShimOptions: controller.IngressShimOptions{DefaultIssuerKind: "Issuer", DefaultIssuerGroup: "cert-manager.io"},
	})
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for name, construct := range controller.Known() {
		one, err := construct(factory)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		group.Go(func() error { return one.Run(5, ctx) })
	}
	informers, err := factory.Build()
	if err != nil {
		return err
	}
	informers.Metrics.SetupCertificateCollector(informers.SharedInformerFactory.Certmanager().V1().Certificates().Lister())
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	told := informers.Metrics.NewServer(listener)
	context.AfterFunc(ctx, func() { told.Close() })
	group.Go(func() error { return told.Serve(listener) })
	informers.SharedInformerFactory.Start(ctx.Done())
	informers.KubeSharedInformerFactory.Start(ctx.Done())
	informers.HTTP01ResourceMetadataInformersFactory.Start(ctx.Done())
	return group.Wait()
}

// runWebhook serves admission on 10250 and health on 6080, with a certificate of an authority that it keeps itself.
func runWebhook(ctx context.Context, namespace string, names []string) error {
	configuration := webhookconfig.WebhookConfiguration{SecurePort: 10250, HealthzPort: 6080, MetricsListenAddress: "0"}
	configuration.TLSConfig.Dynamic.SecretNamespace = namespace
	configuration.TLSConfig.Dynamic.SecretName = "cert-manager-webhook-ca"
	configuration.TLSConfig.Dynamic.DNSNames = names
	configuration.TLSConfig.Dynamic.LeafDuration = 7 * 24 * time.Hour
	served, err := webhook.NewCertManagerWebhookServer(logf.FromContext(ctx), configuration)
	if err != nil {
		return err
	}
	return served.Run(ctx)
}
