// Package probe asks what a tier's instance must answer, from outside, as a health check describes it. It knows no
// stack and no AWS.
package probe

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/plaintext"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stackfile"
)

// Get asks a URL for its health. Whoever answers must have a certificate with one of the fingerprints.
func Get(ctx context.Context, url string, fingerprints ...string) error {
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{
		// The instance made the certificate itself: instead of a chain, its digest is verified, which came by way of
		// the API.
		InsecureSkipVerify: true,
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
			if sum := sha256.Sum256(raw[0]); !slices.Contains(fingerprints, hex.EncodeToString(sum[:])) {
				return errors.New("the certificate is not the one that the instance reported")
			}
			return nil
		}}}
	client := &http.Client{Transport: transport}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 500))
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s: %s", url, plaintext.Line(response.Status), plaintext.Line(string(body)))
	}
	return err
}

// URL is what an address is asked for.
func URL(check stackfile.HealthCheck, address string) string {
	return "https://" + address + check.Path
}

// Probe asks the instances of one tier.
type Probe struct {
	Check stackfile.HealthCheck
	// Fingerprints are those of certificates that may be shown at the moment.
	Fingerprints func() []string
	// Get asks a URL; it is the function Get but in tests.
	Get func(ctx context.Context, url string, fingerprints ...string) error
}

// Once asks an address once.
func (p Probe) Once(ctx context.Context, address string) error {
	limited, cancel := context.WithTimeout(ctx, p.Check.Timeout)
	defer cancel()
	return p.Get(limited, URL(p.Check, address), p.Fingerprints()...)
}

// Healthy waits until an address answers well so many times in a row, within the check's deadline.
func (p Probe) Healthy(ctx context.Context, address string, times int32) error {
	limited, cancel := context.WithTimeout(ctx, p.Check.Deadline)
	defer cancel()
	var last error
	for good := int32(0); ; {
		err := p.Once(limited, address)
		if err == nil {
			good++
		} else if good = 0; limited.Err() == nil {
			last = err
		}
		if good == times {
			return nil
		}
		if err := await.Sleep(limited, p.Check.Interval); err != nil {
			return errors.Join(last, limited.Err())
		}
	}
}

// Watch keeps asking an address for a while. Several bad answers in a row are an error.
func (p Probe) Watch(ctx context.Context, address string, d time.Duration) error {
	bad := int32(0)
	for until := time.Now().Add(d); time.Now().Before(until); {
		if err := p.StillHealthy(ctx, address, &bad); err != nil {
			return err
		}
		if err := await.Sleep(ctx, p.Check.Interval); err != nil {
			return err
		}
	}
	return nil
}

// StillHealthy asks an address once that was well before. It is an error once as many answers in a row were bad as it
// takes good ones to be healthy; bad counts them.
func (p Probe) StillHealthy(ctx context.Context, address string, bad *int32) error {
	err := p.Once(ctx, address)
	if err == nil {
		*bad = 0
		return nil
	}
	if *bad++; *bad < p.Check.HealthyThreshold {
		return nil
	}
	return fmt.Errorf("the page was healthy and then was not: %w", err)
}
