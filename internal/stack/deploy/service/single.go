package stack

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/plaintext"
)

// bringWeb has a web instance be ready, a new one by its own address.
func (r *rollout) bringWeb(ctx context.Context, c change) (instance.Report, error) {
	if r.scaled() {
		return instance.Report{}, r.bringGroup(ctx, c)
	}
	if !c.replace {
		report, err := r.start(ctx, c.old)
		r.result.Web = r.latest(ctx, c.old.ID)
		return report, err
	}
	launched, err := r.launchTier(ctx, c)
	if err != nil {
		return instance.Report{}, err
	}
	var report instance.Report
	err = r.timed("web ready", func() (err error) {
		limited, cancel := context.WithTimeout(ctx, r.file.HealthCheck.Deadline)
		defer cancel()
		report, err = r.waitReady(limited, launched.ID, time.Time{})
		return err
	})
	r.result.Web = r.latest(ctx, launched.ID)
	return report, err
}

// moveTraffic asks the web instance from outside, by its own address and several times in a row, and gives it the stack's
// address if it has not got it.
func (r *rollout) moveTraffic(ctx context.Context, c change, report instance.Report) error {
	if r.scaled() {
		return r.serveGroup(ctx, c)
	}
	r.result.Fingerprint = certificateOf(report)
	own := aws.ToString(r.address.PublicIp)
	r.result.URL = "https://" + own + "/"
	if r.result.Fingerprint == "" || r.result.Web.Public == "" {
		return fmt.Errorf("ask %s from outside: it has no public address, or its report no certificate", r.result.Web.ID)
	}
	if err := r.timed("https from outside", func() error { return r.healthy(ctx, r.result.Web.Public, r.file.HealthCheck.HealthyThreshold) }); err != nil {
		return err
	}
	r.observer.trust(r.result.Fingerprint)
	if r.result.Web.Public == own {
		r.observer.ask(own)
		return nil
	}
	err := r.timed("move the web address", func() error {
		if err := r.giveAddress(ctx, r.address, r.result.Web.ID); err != nil {
			return err
		}
		r.result.Web = r.latest(ctx, r.result.Web.ID)
		return r.healthy(ctx, own, 1)
	})
	if err == nil {
		r.observer.ask(own)
		r.say("the traffic goes to %s", r.result.Web.ID)
	}
	return err
}

// fingerprints are the digests of the certificates that the web tier may show.
func (r *rollout) fingerprints() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append(slices.Collect(maps.Values(r.certificates)), r.result.Fingerprint)
}

// healthy waits until an address answers so many times in a row.
func (r *rollout) healthy(ctx context.Context, address string, times int32) error {
	check := r.file.HealthCheck
	limited, cancel := context.WithTimeout(ctx, check.Deadline)
	defer cancel()
	var last error
	for good := int32(0); ; {
		err := r.getHealth(limited, address)
		if err == nil {
			good++
		} else if good = 0; limited.Err() == nil {
			last = err
		}
		if good == times {
			return nil
		}
		if err := sleep(limited, check.Interval); err != nil {
			return fmt.Errorf("ask %s from outside, at %s: %w", r.result.Web.ID, address, errors.Join(last, limited.Err()))
		}
	}
}

// watch keeps asking the page for a while. Several bad answers in a row say that the new instances are no good.
func (r *rollout) watch(ctx context.Context) error {
	if r.file.Deploy.BakeTime <= 0 || r.baked {
		return nil
	}
	r.say("watching for %s", r.file.Deploy.BakeTime)
	return r.timed("watch", func() error {
		bad := int32(0)
		for until := time.Now().Add(r.file.Deploy.BakeTime); time.Now().Before(until); {
			err := r.getHealth(ctx, aws.ToString(r.address.PublicIp))
			if err == nil {
				bad = 0
			} else if bad++; bad >= r.file.HealthCheck.HealthyThreshold {
				return fmt.Errorf("the page was healthy and then was not: %w", err)
			}
			if err := sleep(ctx, r.file.HealthCheck.Interval); err != nil {
				return err
			}
		}
		return nil
	})
}

// getHealth asks an address as the stack file's health check says.
func (r *rollout) getHealth(ctx context.Context, address string) error {
	check := r.file.HealthCheck
	limited, cancel := context.WithTimeout(ctx, check.Timeout)
	defer cancel()
	return getHealth(limited, "https://"+address+check.Path, r.fingerprints()...)
}

// getHealth asks for a page's health. Whoever answers must have a certificate with one of the fingerprints.
func getHealth(ctx context.Context, url string, fingerprints ...string) error {
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{
		// The instance made the certificate itself: instead of a chain, its digest is verified, which came by way of the API.
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
