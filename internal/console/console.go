// Package console reads what instances write to their consoles. EC2 answers few such calls a minute, fewer than of any
// other kind, so all who wait for something on a console share what may be asked.
package console

import (
	"context"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"golang.org/x/time/rate"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/plaintext"
)

// API is the call of EC2 that is needed; *ec2.Client has it.
type API interface {
	GetConsoleOutput(
		context.Context,
		*ec2.GetConsoleOutputInput,
		...func(*ec2.Options),
	) (*ec2.GetConsoleOutputOutput, error)
}

const (
	// Poll is the time between two looks at a console while no limit is near.
	Poll = 400 * time.Millisecond

	// burst is how often a console is read at once, and every the time between two reads after that.
	burst = 12
	every = 3 * time.Second
	// rest is how long nobody asks after EC2 said that it was too often; it doubles up to restLimit.
	rest      = 10 * time.Second
	restLimit = 40 * time.Second
)

// Reader keeps count of what is asked.
type Reader struct {
	mu        sync.Mutex
	instances map[string]*budget
	// until is when EC2 may be asked again, and last the rest that it took before.
	until time.Time
	last  time.Duration
}

// budget is of one instance.
type budget struct {
	limit *rate.Limiter
	// plain says that the instance has no latest output: it is not one of the Nitro system.
	plain bool
}

// Shared is for the whole process: EC2 counts an account's calls and not those of a part of a program.
var Shared = &Reader{}

// Tail is the end of an instance's console, to be added to an error; empty where there is none to be had. What an
// instance of ours says again and again is left out: it would hide all else, and who reads the error knows it.
func (r *Reader) Tail(ctx context.Context, api API, id string) string {
	const most = 20
	text, err := r.Read(ctx, api, id)
	lines := strings.Split(strings.TrimSpace(instance.WithoutRepeated(string(text))), "\n")
	if err != nil || len(text) == 0 {
		return ""
	}
	return "\nthe end of its console:\n  " + plaintext.Lines(strings.Join(lines[max(0, len(lines)-most):], "\n  "))
}

// Read returns an instance's console output, as soon as the limits allow a call.
func (r *Reader) Read(ctx context.Context, api API, id string) ([]byte, error) {
	b := r.of(id)
	out, err := r.ask(ctx, api, id, b, !b.isPlain(r))
	if awserr.Is(err, apierror.UnsupportedOperation) {
		b.setPlain(r)
		out, err = r.ask(ctx, api, id, b, false)
	}
	if err != nil {
		return nil, fmt.Errorf("read the console of %s: %w", id, err)
	}
	return base64.StdEncoding.DecodeString(aws.ToString(out.Output))
}

func (r *Reader) of(id string) *budget {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.instances == nil {
		r.instances = map[string]*budget{}
	}
	if r.instances[id] == nil {
		r.instances[id] = &budget{limit: rate.NewLimiter(rate.Every(every), burst)}
	}
	return r.instances[id]
}

func (b *budget) isPlain(r *Reader) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return b.plain
}

func (b *budget) setPlain(r *Reader) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b.plain = true
}

func (r *Reader) ask(
	ctx context.Context,
	api API,
	id string,
	b *budget,
	latest bool,
) (*ec2.GetConsoleOutputOutput, error) {
	if err := r.turn(ctx, b); err != nil {
		return nil, err
	}
	input := &ec2.GetConsoleOutputInput{InstanceId: aws.String(id)}
	if latest {
		input.Latest = aws.Bool(true)
	}
	out, err := api.GetConsoleOutput(ctx, input)
	r.note(awserr.Throttled(err))
	return out, err
}

// turn waits for the instance's budget and for the end of a rest.
func (r *Reader) turn(ctx context.Context, b *budget) error {
	reserved := b.limit.Reserve()
	delay := reserved.Delay()
	if delay > 0 {
		delay += rand.N(every / 6) // those who wait do not all ask at once
	}
	for delay = max(delay, r.resting()); delay > 0; delay = r.resting() {
		if await.Sleep(ctx, delay) != nil {
			reserved.Cancel()
			return ctx.Err()
		}
	}
	return nil
}

func (r *Reader) resting() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Until(r.until)
}

// note has everybody rest after a call that was one too many.
func (r *Reader) note(throttled bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !throttled {
		r.last = 0
		return
	}
	r.last = min(max(2*r.last, rest), restLimit)
	r.until = time.Now().Add(r.last + rand.N(r.last/5))
}
