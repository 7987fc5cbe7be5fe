package deployreport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/report"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/launch"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/probe"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stackfile"
)

const (
	// sampleEvery is the time between two questions to the page.
	sampleEvery = 500 * time.Millisecond
	// sampleTimeout is after what time one counts as not answered.
	sampleTimeout = 5 * time.Second
)

// Observer collects, while a deployment goes on, what its report shows beside the record. It never fails a deployment,
// and a nil one collects nothing.
type Observer struct {
	check  stackfile.HealthCheck
	stop   func()
	asking sync.WaitGroup

	mu      sync.Mutex
	address string // what is asked; empty until something serves there
	// certificates are the fingerprints of those instances whose answers count.
	certificates []string
	samples      []report.Sample
	moves        []report.Move
	pauses       []report.Interval
}

// Observe begins to probe what a service tier answers, also while the deployment is interrupted and goes back. all are
// the instances as the deployment begins.
func Observe(ctx context.Context, s *stack.Stack, t stack.Tier, all []stack.Instance) *Observer {
	asking, stop := context.WithCancel(context.WithoutCancel(ctx))
	o := &Observer{check: t.Service.Probe, stop: stop}
	o.asking.Go(func() {
		if err := o.askServing(asking, s, t, all); err != nil && asking.Err() == nil {
			s.Logf("the report will show the tier's health from the new instance on: %v", err)
		}
		for o.sample(asking); await.Sleep(asking, sampleEvery) == nil; {
			o.sample(asking)
		}
	})
	return o
}

// askServing has the address be asked that serves when the deployment begins, if one does.
func (o *Observer) askServing(ctx context.Context, s *stack.Stack, t stack.Tier, all []stack.Instance) error {
	old := stack.ServingOf(all, t.Name)
	address, err := s.ElasticAddress(ctx, t)
	if err != nil || old.State != "running" || address == nil || aws.ToString(address.InstanceId) != old.ID {
		return err
	}
	text, err := launch.Console(ctx, s, old.ID)
	if err != nil {
		return err
	}
	found, _ := instance.FindReport(text)
	shown := launch.CertificateOf(found)
	if shown == "" {
		return fmt.Errorf("the console of %s does not show its certificate any more", old.ID)
	}
	o.Trust(shown)
	o.Ask(aws.ToString(address.PublicIp))
	return nil
}

// Trust has answers count that come with a certificate of this fingerprint.
func (o *Observer) Trust(certificate string) {
	o.change(func() { o.certificates = append(o.certificates, certificate) })
}

// Ask has an address be asked from now on: something serves there.
func (o *Observer) Ask(address string) { o.change(func() { o.address = address }) }

// Moved notes that an address or a volume has gone somewhere. That it goes where it is already is no move.
func (o *Observer) Moved(what, to string) {
	o.change(func() {
		for _, last := range slices.Backward(o.moves) {
			if strings.HasPrefix(last.What, what+" to ") {
				if last.What == what+" to "+to {
					return
				}
				break
			}
		}
		o.moves = append(o.moves, report.Move{At: time.Now(), What: what + " to " + to})
	})
}

// WritesStop notes that the database takes no writes from now on, and WritesResume that it does again.
func (o *Observer) WritesStop() {
	o.change(func() {
		if last := len(o.pauses) - 1; last < 0 || !o.pauses[last].End.IsZero() {
			o.pauses = append(o.pauses, report.Interval{Start: time.Now()})
		}
	})
}

func (o *Observer) WritesResume() {
	o.change(func() {
		if last := len(o.pauses) - 1; last >= 0 && o.pauses[last].End.IsZero() {
			o.pauses[last].End = time.Now()
		}
	})
}

func (o *Observer) change(change func()) {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	change()
}

// sample asks once, if there is somebody to ask.
func (o *Observer) sample(ctx context.Context) {
	var address string
	var certificates []string
	o.change(func() { address, certificates = o.address, slices.Clone(o.certificates) })
	if address == "" {
		return
	}
	limited, cancel := context.WithTimeout(ctx, sampleTimeout)
	defer cancel()
	asked := time.Now()
	page := probe.Health(o.check, address)
	err := probe.Get(limited, page, certificates...)
	taken := report.Sample{At: asked, OK: err == nil, Took: time.Since(asked)}
	if err != nil {
		taken.Detail = faultOf(page.URL, err)
	}
	if ctx.Err() == nil { // else it was the end of the deployment that broke it off
		o.change(func() { o.samples = append(o.samples, taken) })
	}
}

// faultOf is an error's text without ports, which differ between requests, and without the page's URL: the same fault
// many times in a row is one line of the report.
func faultOf(page string, err error) string {
	var broken *net.OpError
	var failed *url.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("no answer within %s", sampleTimeout)
	case errors.As(err, &broken): // without the ports
		return broken.Err.Error()
	case errors.As(err, &failed):
		return failed.Err.Error()
	}
	return strings.TrimPrefix(err.Error(), page+" answers ")
}

// end stops asking, and fills in what was collected.
func (o *Observer) end(into *report.Report) {
	o.stop()
	o.asking.Wait()
	into.Health, into.Moves, into.Interruptions = o.samples, o.moves, o.pauses
}
