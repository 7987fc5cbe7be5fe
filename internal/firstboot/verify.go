package firstboot

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
)

// The checks are repeated until all pass, or until this long after the first.
const (
	verifyInterval = 200 * time.Millisecond
	verifyDeadline = 120 * time.Second
	checkLimit     = 10 * time.Second
	sayEvery       = 5 * time.Second
)

// check is one thing that has to be so for the instance to be ready.
type check struct {
	name string
	// limit is how long it may take; 0 is checkLimit.
	limit time.Duration
	run   func(context.Context) (detail string, err error)
}

// Verify waits until the instance is what its image and its settings say, and writes a report of it as one line to the
// console, after its SSH host keys. On a machine that is no instance of a stack it verifies nothing, unless the first boot
// failed.
func Verify(ctx context.Context) error {
	tellHostKeys()
	image, err := instance.ReadImage(instance.DescriptionDir)
	if err != nil {
		return err
	}
	s, err := readSituation()
	if errors.Is(err, fs.ErrNotExist) {
		if _, active := unitActive(ctx, instance.FirstBootUnit); active == nil {
			return nil
		}
	} else if err != nil {
		return err
	}
	assertions, err := instance.Assertions(instance.AssertDir)
	if err != nil {
		return err
	}
	report := wait(ctx, s, checksOf(image, s, assertions))
	line, err := json.Marshal(report)
	if err != nil {
		return err
	}
	if err := tell(instance.ReportPrefix + string(line)); err != nil {
		return err
	}
	if !report.Ready {
		return errors.New("the instance is not ready: " + failures(report))
	}
	return nil
}

// tell writes a line to the console, from where the API shows it, and to the journal.
func tell(line string) error {
	fmt.Println(line)
	return toConsole(line)
}

func failures(report instance.Report) string {
	var failed []string
	for _, c := range report.Checks {
		if !c.OK {
			failed = append(failed, c.Name+" ("+strings.Join(strings.Fields(c.Detail), " ")+")") // one line of the console
		}
	}
	return strings.Join(failed, ", ")
}

// wait repeats the checks. A unit that failed is not waited for: nothing mends it.
func wait(ctx context.Context, s situation, checks []check) instance.Report {
	said, at := "", time.Now()
	for deadline := time.Now().Add(verifyDeadline); ; {
		report := once(ctx, s, checks)
		// Whoever reads the console must not have to wait for the end to learn what is being waited for.
		if missing := failures(report); !report.Ready && missing != said && time.Since(at) > sayEvery {
			tell(instance.WaitingPrefix + missing)
			said, at = missing, time.Now()
		}
		if report.Ready || hopeless(report) || time.Now().After(deadline) || ctx.Err() != nil {
			return report
		}
		select {
		case <-ctx.Done():
		case <-time.After(verifyInterval):
		}
	}
}

// hopeless tells whether a unit failed: systemd says so only of one that it does not start again.
func hopeless(report instance.Report) bool {
	return slices.ContainsFunc(report.Checks, func(c instance.Check) bool {
		return strings.HasPrefix(c.Name, "unit ") && strings.HasPrefix(c.Detail, "failed")
	})
}

func once(ctx context.Context, s situation, checks []check) instance.Report {
	report := instance.Report{Ready: true, Tier: s.Settings.Tier, InstanceID: s.Identity.InstanceID, ImageID: s.Identity.ImageID, Time: time.Now().UTC(), Uptime: uptime()}
	for _, c := range checks {
		limited, cancel := context.WithTimeout(ctx, cmp.Or(c.limit, checkLimit))
		detail, err := c.run(limited)
		cancel()
		if err != nil {
			report.Ready = false
			detail = err.Error()
		}
		report.Checks = append(report.Checks, instance.Check{Name: c.name, OK: err == nil, Detail: detail})
	}
	return report
}

// uptime is the age of process 1, in seconds: in a container the kernel's own says nothing of the machine.
func uptime() float64 {
	info, err := os.Stat("/proc/1")
	if err != nil {
		return 0
	}
	return time.Since(info.ModTime()).Seconds()
}

func checksOf(image instance.Image, s situation, assertions []instance.Assertion) []check {
	unit := func(name string) check {
		return check{name: "unit " + name, run: func(ctx context.Context) (string, error) { return unitActive(ctx, name) }}
	}
	checks := []check{unit(instance.FirstBootUnit)}
	if image.MySQL != nil && s.Settings.Tier != "web" {
		checks = append(checks, unit(instance.DataUnit), server(*image.MySQL), unit(instance.DatabaseUnit))
		checks = append(checks, databaseChecks(*image.MySQL, s)...)
	}
	if image.Webapp != nil && s.Settings.Tier != "db" {
		checks = append(checks, unit(image.Webapp.Unit))
	}
	if image.Nginx != nil && s.Settings.Tier != "db" {
		checks = append(checks, unit(image.Nginx.Unit))
		checks = append(checks, webChecks(*image.Nginx, s)...)
	}
	checks = append(checks, check{name: "failed units", run: noFailedUnit}, check{name: "reachable", run: reachable})
	for _, a := range assertions {
		checks = append(checks, assertionCheck(a))
	}
	return checks
}

// server is the check of the database's unit. Why it failed is in a log of its own.
func server(image instance.MySQLImage) check {
	return check{name: "unit " + image.Unit, run: func(ctx context.Context) (string, error) {
		state, err := unitActive(ctx, image.Unit)
		if err != nil && strings.HasPrefix(state, "failed") {
			if reason := lastErrors(image.Log); reason != "" {
				state += ": " + reason
				err = errors.New(state)
			}
		}
		return state, err
	}}
}

// lastErrors are the last lines of a server's log that say that something is wrong; none if there is no such log.
func lastErrors(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	var found []string
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "[ERROR]") {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return strings.Join(found[max(0, len(found)-5):], "\n")
}

// unitActive asks systemd; its answer is the detail.
func unitActive(ctx context.Context, unit string) (string, error) {
	out, err := exec.CommandContext(ctx, "systemctl", "is-active", unit).Output()
	state := strings.TrimSpace(string(out))
	if err == nil {
		return state, nil
	}
	if state == "" {
		state = err.Error()
	}
	if state == "failed" {
		state += lastWords(ctx, unit)
	}
	return state, errors.New(state)
}

// lastWords are what a unit that failed wrote last. The units that are asked about never write a secret.
func lastWords(ctx context.Context, unit string) string {
	out, err := exec.CommandContext(ctx, "journalctl", "--no-pager", "--output=cat", "--lines=10", "--unit="+unit, "_TRANSPORT=stdout").Output()
	if text := strings.TrimSpace(string(out)); err == nil && text != "" {
		return ": " + text
	}
	return ""
}

func databaseChecks(image instance.MySQLImage, s situation) []check {
	address := image.BindAddress
	if address == "instance" {
		address = cmp.Or(s.Identity.Service, s.Identity.Private)
	}
	question := func(query, want string) func(context.Context) (string, error) {
		return func(ctx context.Context) (string, error) {
			got, err := sql(ctx, query)
			if err == nil && got != want {
				err = fmt.Errorf("got %q, want %q", got, want)
			}
			return got, err
		}
	}
	checks := []check{
		{name: "listens", run: func(context.Context) (string, error) { return listensOnlyOn(image.Port, address) }},
		{name: "sql", run: question("SELECT 1", "1")},
		{name: "bind-address", run: question("SELECT @@bind_address", address)},
		{name: "tls", run: question("SELECT @@ssl_cert", filepath.Join(instance.RunDir, "tls", "db.crt"))},
		{name: "account", run: question(fmt.Sprintf("SELECT COUNT(*) FROM mysql.user WHERE user = %s", quote(image.Username)), "1")},
	}
	if image.Seeded {
		checks = append(checks, check{name: "seed", run: question(fmt.Sprintf("SELECT COUNT(*) > 0 FROM information_schema.tables WHERE table_schema = %s", quote(image.Database)), "1")})
	}
	return checks
}

// listensOnlyOn looks for sockets that listen on a port, and wants exactly one, on this address.
func listensOnlyOn(port int, address string) (string, error) {
	sockets, err := instance.Sockets("/proc/net")
	if err != nil {
		return "", err
	}
	var found []string
	for _, s := range sockets {
		if s.Protocol == "tcp" && int(s.Address.Port()) == port {
			found = append(found, s.Address.Addr().String())
		}
	}
	if !slices.Equal(found, []string{address}) {
		return "", fmt.Errorf("port %d is listened to on [%s], it should be on %s", port, strings.Join(found, ", "), address)
	}
	return net.JoinHostPort(address, strconv.Itoa(port)), nil
}

func webChecks(image instance.NginxImage, s situation) []check {
	name := cmp.Or(s.Identity.Service, s.Identity.Public, s.Identity.Private)
	return []check{
		{name: "certificate", run: func(context.Context) (string, error) { return certificateCovers(name, s.OwnCertificate) }},
		{name: "http", run: func(ctx context.Context) (string, error) {
			return answers(ctx, image.HTTPPort, "http://"+name+"/", http.StatusMovedPermanently)
		}},
		{name: "livez", run: func(ctx context.Context) (string, error) {
			return answers(ctx, image.HTTPSPort, "https://"+name+"/livez", http.StatusOK)
		}},
		{name: "health", run: func(ctx context.Context) (string, error) {
			return answers(ctx, image.HTTPSPort, "https://"+name+"/health", http.StatusOK)
		}},
	}
}

func webCertificate() (*x509.Certificate, error) {
	text, err := os.ReadFile(filepath.Join(instance.RunDir, "tls", "web.crt"))
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("web.crt holds no certificate")
	}
	return x509.ParseCertificate(block.Bytes)
}

// certificateCovers wants the certificate to be valid now and, if the instance made it, good for the instance's name. Its
// digest is the detail, by which whoever reads the report can pin it.
func certificateCovers(name string, own bool) (string, error) {
	certificate, err := webCertificate()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(certificate.Raw)
	detail := "sha256:" + hex.EncodeToString(sum[:])
	if now := time.Now(); now.After(certificate.NotAfter) || now.Before(certificate.NotBefore) {
		return detail, fmt.Errorf("it is valid from %s to %s, and here it is %s", certificate.NotBefore.Format(time.RFC3339), certificate.NotAfter.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	if own {
		return detail, certificate.VerifyHostname(name)
	}
	return detail, nil
}

// answers asks this machine's own web server, under the name that others use.
func answers(ctx context.Context, port int, url string, want int) (string, error) {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		},
		DisableKeepAlives: true,
	}
	if certificate, err := webCertificate(); err == nil {
		roots := x509.NewCertPool()
		roots.AddCert(certificate)
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
		if len(certificate.IPAddresses) == 0 && len(certificate.DNSNames) > 0 {
			transport.TLSClientConfig.ServerName = certificate.DNSNames[0]
		}
	}
	client := &http.Client{Transport: transport, Timeout: 5 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 300))
	if err != nil {
		return "", err
	}
	if response.StatusCode != want {
		return "", fmt.Errorf("it answers %s, not %d: %s", response.Status, want, strings.TrimSpace(string(body)))
	}
	return response.Status, nil
}
