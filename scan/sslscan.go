package main

import (
	"context"
	"encoding/xml"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// sslscanDatabase has sslscan speak to the database from the web tier's instance: the server greets nobody else.
func sslscanDatabase(ctx context.Context, m *machine) (string, []finding, error) {
	path, err := exec.LookPath("sslscan")
	if err != nil {
		return "", nil, err
	}
	program, err := os.ReadFile(path)
	if err != nil {
		return "", nil, err
	}
	// It listens on the tier's service address, where there is one.
	address, err := m.root(ctx, `mysql --batch --skip-column-names --execute "SELECT @@bind_address"`, nil)
	if err != nil {
		return "", nil, err
	}
	out, err := m.web.root(
		ctx,
		`f=$(mktemp /usr/local/sslscan.XXXXXX) && cat >"$f" && chmod 700 "$f" &&
			"$f" --starttls-mysql --no-colour --xml=- `+strings.TrimSpace(address)+`:3306; rm "$f"`,
		program,
	)
	if err != nil {
		return "", nil, err
	}
	return parseSSLScan(out)
}

// sslReport is sslscan's report, as far as it is read.
type sslReport struct {
	Test sslTest `xml:"ssltest"`
}

// sslTest is one server's.
type sslTest struct {
	Protocols []struct {
		Type    string `xml:"type,attr"`
		Version string `xml:"version,attr"`
		Enabled int    `xml:"enabled,attr"`
	} `xml:"protocol"`
	Ciphers []struct {
		Version  string `xml:"sslversion,attr"`
		Name     string `xml:"cipher,attr"`
		Strength string `xml:"strength,attr"`
	} `xml:"cipher"`
	Compression struct {
		Supported int `xml:"supported,attr"`
	} `xml:"compression"`
	Heartbleed []struct {
		Vulnerable int `xml:"vulnerable,attr"`
	} `xml:"heartbleed"`
	Certificates []struct {
		Expired    bool `xml:"expired"`
		SelfSigned bool `xml:"self-signed"`
	} `xml:"certificates>certificate"`
}

// parseSSLScan finds fault with every protocol but TLS 1.3, with every cipher suite that is none of its three common
// ones, and with what sslscan itself marks.
func parseSSLScan(out string) (string, []finding, error) {
	var report sslReport
	if err := xml.Unmarshal([]byte(out), &report); err != nil {
		return "", nil, fmt.Errorf("read sslscan's report: %w", err)
	}
	t := report.Test
	if len(t.Protocols) == 0 || len(t.Ciphers) == 0 || len(t.Certificates) == 0 {
		return "", nil, fmt.Errorf(
			"read sslscan's report: there are %d protocols, %d ciphers and %d certificates: no connection was made",
			len(t.Protocols),
			len(t.Ciphers),
			len(t.Certificates),
		)
	}
	found := append(t.offered(), t.marked()...)
	return fmt.Sprintf("TLS 1.3, %d cipher suites", len(t.Ciphers)), found, nil
}

// offered finds fault with protocols and cipher suites.
func (t sslTest) offered() []finding {
	var found []finding
	for _, p := range t.Protocols {
		if name := p.Type + " " + p.Version; p.Enabled != 0 && name != "tls 1.3" {
			found = append(found, finding{name, "it is offered"})
		}
	}
	common := []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}
	for _, c := range t.Ciphers {
		if !slices.Contains(common, c.Name) || c.Strength != "acceptable" && c.Strength != "strong" {
			found = append(found, finding{c.Name, c.Version + " has it, " + c.Strength})
		}
	}
	return found
}

// marked are the weaknesses that sslscan itself marks.
func (t sslTest) marked() []finding {
	var found []finding
	if t.Compression.Supported != 0 {
		found = append(found, finding{"compression", "it is offered"})
	}
	for _, h := range t.Heartbleed {
		if h.Vulnerable != 0 {
			found = append(found, finding{"heartbleed", "the server has it"})
		}
	}
	for _, c := range t.Certificates {
		if c.Expired {
			found = append(found, finding{"expired", "the certificate is"})
		}
		if c.SelfSigned {
			found = append(
				found,
				finding{"self-signed", "the certificate is; it should be signed by the stack's authority"},
			)
		}
	}
	return found
}
