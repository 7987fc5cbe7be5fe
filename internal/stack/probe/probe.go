// Package probe makes a health check's requests to a tier's instance, from outside. It knows no stack and no AWS.
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
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/plaintext"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stackfile"
)

// Question is an HTTP GET request, and the status that its answer must have.
type Question struct {
	URL    string
	Status int
}

// Get asks a question. Whoever answers it by TLS must have a certificate with one of the fingerprints.
func Get(ctx context.Context, q Question, fingerprints ...string) error {
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
	if q.Status >= 300 && q.Status < 400 { // it is the redirection that is wanted
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, q.URL, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 500))
	if err == nil && response.StatusCode != q.Status {
		err = fmt.Errorf("%s answers %s: %s", q.URL, plaintext.Line(response.Status), plaintext.Line(string(body)))
	}
	return err
}

// Health is the request of a health check to an address.
func Health(check stackfile.HealthCheck, address string) Question {
	return Question{URL: "https://" + address + check.Path, Status: http.StatusOK}
}

// Described are the questions that an instance's image says it answers, at an address of it or of a load balancer in
// front of it that passes only some ports on.
func Described(answers []instance.Answer, ports []int32, address string) []Question {
	var all []Question
	for _, a := range answers {
		if !slices.Contains(ports, int32(a.Port)) {
			continue
		}
		scheme, usual := "http", 80
		if a.TLS {
			scheme, usual = "https", 443
		}
		host := address
		if a.Port != usual {
			host = net.JoinHostPort(address, strconv.Itoa(a.Port))
		}
		all = append(all, Question{URL: scheme + "://" + host + a.Path, Status: a.Status})
	}
	return all
}

// Probe asks the instances of one tier.
type Probe struct {
	Check stackfile.HealthCheck
	// Fingerprints are those of certificates that may be shown at the moment.
	Fingerprints func() []string
	// Get asks a URL; it is the function Get but in tests.
	Get func(ctx context.Context, q Question, fingerprints ...string) error
	// Ports are those at which the instances can be asked from outside.
	Ports []int32
}

// Once asks an address once.
func (p Probe) Once(ctx context.Context, address string) error {
	limited, cancel := context.WithTimeout(ctx, p.Check.Timeout)
	defer cancel()
	return p.Get(limited, Health(p.Check, address), p.Fingerprints()...)
}

// Answers waits until an address gives all answers that the image of who is there describes, within the check's
// deadline.
func (p Probe) Answers(ctx context.Context, address string, answers []instance.Answer) error {
	limited, cancel := context.WithTimeout(ctx, p.Check.Deadline)
	defer cancel()
	for _, q := range Described(answers, p.Ports, address) {
		for {
			asking, done := context.WithTimeout(limited, p.Check.Timeout)
			err := p.Get(asking, q, p.Fingerprints()...)
			done()
			if err == nil {
				break
			}
			if ended := await.Sleep(limited, p.Check.Interval); ended != nil {
				return errors.Join(err, ended)
			}
		}
	}
	return nil
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
	return fmt.Errorf("it was healthy and then was not: %w", err)
}
