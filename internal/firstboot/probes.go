package firstboot

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/imagespec"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
)

// portChecks is one check of all ports, so that a report names those that are wrong together.
func portChecks(ports []imagespec.Port, i Instance) []check {
	if len(ports) == 0 {
		return nil
	}
	return []check{{name: "listens", run: func(context.Context) (string, error) {
		var found []string
		var errs []error
		for _, p := range ports {
			detail, err := listens(p, i)
			found, errs = append(found, detail), append(errs, err)
		}
		return strings.Join(found, ", "), errors.Join(errs...)
	}}}
}

func listens(p imagespec.Port, i Instance) (string, error) {
	if p.Address == imagespec.AnyAddress {
		return listensToOthers(p.Port)
	}
	return listensOnlyOn(p.Port, addressOf(p, i))
}

func addressOf(p imagespec.Port, i Instance) string {
	if p.Address == imagespec.InstanceAddress {
		return i.Identity.Address()
	}
	return p.Address
}

// listensToOthers wants a socket that listens on a port on more than loopback.
func listensToOthers(port int) (string, error) {
	found, err := listeners(port)
	if err != nil {
		return "", err
	}
	for _, address := range found {
		if ip := net.ParseIP(address); ip != nil && !ip.IsLoopback() {
			return net.JoinHostPort(address, strconv.Itoa(port)), nil
		}
	}
	return "", fmt.Errorf(
		"port %d is listened to on [%s], it should be for others to reach",
		port,
		strings.Join(found, ", "),
	)
}

// listensOnlyOn wants exactly one socket that listens on a port, on this address.
func listensOnlyOn(port int, address string) (string, error) {
	found, err := listeners(port)
	if err != nil {
		return "", err
	}
	if !slices.Equal(found, []string{address}) {
		return "", fmt.Errorf("port %d is listened to on [%s], it should be on %s", port, strings.Join(found, ", "),
			address)
	}
	return net.JoinHostPort(address, strconv.Itoa(port)), nil
}

// listeners are the addresses on which a TCP port is listened to.
func listeners(port int) ([]string, error) {
	sockets, err := instance.Sockets("/proc/net")
	if err != nil {
		return nil, err
	}
	var found []string
	for _, s := range sockets {
		if s.Protocol == "tcp" && int(s.Address.Port()) == port {
			found = append(found, s.Address.Addr().String())
		}
	}
	return found, nil
}

func probeCheck(d imagespec.Description, p imagespec.Probe, i Instance) check {
	if command, ok := p.Command(); ok {
		return assertionCheck(p.Name, command, i)
	}
	at := slices.IndexFunc(d.Ports, func(port imagespec.Port) bool { return port.Name == p.Port })
	port := d.Ports[at] // imagespec.Read made sure of it
	host := addressOf(port, i)
	if port.Address == imagespec.AnyAddress {
		host = "127.0.0.1"
	}
	address := net.JoinHostPort(host, strconv.Itoa(port.Port))
	if p.Path == "" {
		return check{name: p.Name, run: func(ctx context.Context) (string, error) { return connects(ctx, address) }}
	}
	scheme, certificate := "http", ""
	if port.TLS {
		scheme = "https"
	}
	if port.TLS && d.Certificate != nil {
		certificate = d.Certificate.Path
	}
	url := scheme + "://" + i.Identity.PublicName() + p.Path
	return check{name: p.Name, run: func(ctx context.Context) (string, error) {
		return answers(ctx, address, url, certificate, cmp.Or(p.Status, http.StatusOK))
	}}
}

func connects(ctx context.Context, address string) (string, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return "", err
	}
	return address, conn.Close()
}

func readCertificate(path string) (*x509.Certificate, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s holds no certificate", path)
	}
	return x509.ParseCertificate(block.Bytes)
}

// certificateCovers wants the certificate to be valid now and, if the instance made it, good for the instance's name.
// Its digest is the detail, by which whoever reads the report can pin it.
func certificateCovers(path, name string, own bool) (string, error) {
	certificate, err := readCertificate(path)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(certificate.Raw)
	detail := "sha256:" + hex.EncodeToString(sum[:])
	if err := validNow("it", certificate); err != nil {
		return detail, err
	}
	if own {
		return detail, certificate.VerifyHostname(name)
	}
	return detail, nil
}

// answers asks a server of this machine, at an address, under the name that others use. The certificate is the one in
// the file, if one is named.
func answers(ctx context.Context, address, url, certificatePath string, want int) (string, error) {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", address)
		},
		DisableKeepAlives: true,
	}
	if certificatePath != "" {
		certificate, err := readCertificate(certificatePath)
		if err != nil {
			return "", err
		}
		roots := x509.NewCertPool()
		roots.AddCert(certificate)
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
		if len(certificate.IPAddresses) == 0 && len(certificate.DNSNames) > 0 {
			transport.TLSClientConfig.ServerName = certificate.DNSNames[0]
		}
	}
	client := &http.Client{
		Transport:     transport,
		Timeout:       5 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
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
