package launch

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/console"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
)

// WaitReady waits for the report that an instance writes to its console, and for nothing else: a private instance can
// so be waited for without a way to it. A report that is no younger than after, by the instance's own clock, is of an
// earlier boot.
func WaitReady(ctx context.Context, s *stack.Stack, id string, after time.Time) (report instance.Report, err error) {
	_, err = WaitConsole(ctx, s, id, "is ready", func(text []byte) (ok bool, err error) {
		report, ok = instance.FindReport(text)
		if ok = ok && report.Time.After(after); ok && !report.Ready {
			err = fmt.Errorf("wait for %s: it says that it is not ready: %s", id, Failures(report))
		}
		return ok, err
	})
	return report, err
}

// consoleLimit is how long a console is waited for at most, where nobody sets a shorter time.
const consoleLimit = 15 * time.Minute

// sayEvery is how often a wait for a console is told of.
const sayEvery = time.Minute

// WaitConsole reads an instance's console until it shows what is wanted; what is that, for people. EC2 may not know an
// instance everywhere that was launched a moment ago, and may be asked too much: neither is the end of the wait.
func WaitConsole(
	ctx context.Context, s *stack.Stack, id, what string, shows func(text []byte) (bool, error),
) ([]byte, error) {
	limited, cancel := context.WithTimeout(ctx, consoleLimit)
	defer cancel()
	var seen []byte
	var last error
	began := time.Now()
	for said := began; ; {
		if time.Since(said) >= sayEvery {
			said = time.Now()
			s.Logf("%s has not said that it %s after %s%s", id, what, time.Since(began).Round(time.Second),
				waitsFor(seen))
		}
		latest, err := lookAtConsole(limited, s, id)
		switch {
		case limited.Err() != nil:
			return seen, gaveUp(ctx, s, id, what, seen, withLast(limited.Err(), last))
		case err == nil:
			seen = latest
			if ok, failed := shows(seen); ok || failed != nil {
				return seen, failed
			}
		case !awserr.Transient(err) && (!awserr.NotFound(err) || time.Since(began) > await.Settle):
			return seen, err
		}
		last = err
		pause := console.Poll
		if err != nil {
			pause = SlowPoll
		}
		if err := await.Sleep(limited, pause); err != nil {
			return seen, gaveUp(ctx, s, id, what, seen, withLast(err, last))
		}
	}
}

// withLast is why a wait ended, with what EC2 said last if that was an error.
func withLast(err, last error) error {
	if last == nil {
		return err
	}
	return fmt.Errorf("%w; the last answer was: %w", err, last)
}

// SlowPoll is the time between two looks after one that EC2 refused.
const SlowPoll = 3 * time.Second

// lookAtConsole reads the console of an instance that runs, or is about to.
func lookAtConsole(ctx context.Context, s *stack.Stack, id string) ([]byte, error) {
	described, err := s.Describe(ctx, id)
	if err != nil {
		return nil, err
	}
	if described.State != "running" && described.State != "pending" {
		return nil, fmt.Errorf("wait for %s: it is %s%s", id, described.State, consoleTail(ctx, s, id))
	}
	return Console(ctx, s, id)
}

// gaveUp is the error of a wait for a console that showed this until the end.
func gaveUp(ctx context.Context, s *stack.Stack, id, what string, seen []byte, err error) error {
	tail := consoleTail(context.WithoutCancel(ctx), s, id)
	return fmt.Errorf("wait for %s: it has not said that it %s: %w%s%s", id, what, err, waitsFor(seen), tail)
}

// waitsFor is the last waiting line of an instance, after a semicolon; empty if it wrote none.
func waitsFor(seen []byte) string {
	waiting := instance.FindWaiting(seen)
	if waiting != "" {
		waiting = "; it waits for: " + waiting
	}
	return waiting
}

// Failures are the checks of a report that failed, for people.
func Failures(report instance.Report) string {
	var failed []string
	for _, check := range report.Checks {
		if !check.OK {
			failed = append(failed, check.Name+": "+check.Detail)
		}
	}
	return strings.Join(failed, "; ")
}

// CertificateOf is the SHA-256 of the certificate that an instance reported.
func CertificateOf(report instance.Report) string {
	for _, check := range report.Checks {
		if check.Name == "certificate" {
			return strings.TrimPrefix(check.Detail, "sha256:")
		}
	}
	return ""
}

// Console is an instance's console output so far.
func Console(ctx context.Context, s *stack.Stack, id string) ([]byte, error) {
	return s.Consoles.Read(ctx, s.EC2, id)
}

// tailLimit is how long the end of a console is waited for, which only adds to an error.
const tailLimit = 10 * time.Second

func consoleTail(ctx context.Context, s *stack.Stack, id string) string {
	limited, cancel := context.WithTimeout(ctx, tailLimit)
	defer cancel()
	return s.Consoles.Tail(limited, s.EC2, id)
}

// endLimit is how long instances may take to stop or to be terminated.
const endLimit = 5 * time.Minute

// Terminate ends instances and waits until they are gone.
func Terminate(ctx context.Context, s *stack.Stack, ids ...string) error {
	limited, cancel := context.WithTimeout(ctx, endLimit)
	defer cancel()
	return ec2ops.Terminate(limited, s.EC2, ids...)
}

// Stop stops an instance and waits until it has stopped.
func Stop(ctx context.Context, s *stack.Stack, id string) error {
	if _, err := s.EC2.StopInstances(ctx, &ec2.StopInstancesInput{InstanceIds: []string{id}}); err != nil {
		return fmt.Errorf("stop %s: %w", id, err)
	}
	limited, cancel := context.WithTimeout(ctx, endLimit)
	defer cancel()
	if _, err := ec2ops.UntilStopped(limited, s.EC2, id, time.Time{}); err != nil {
		return fmt.Errorf("stop %s: %w", id, err)
	}
	return nil
}

// Start starts an instance that is stopped, and returns the time of its last report: the next one is younger.
func Start(ctx context.Context, s *stack.Stack, id string) (last time.Time, err error) {
	text, err := Console(ctx, s, id)
	if err != nil {
		return last, err
	}
	report, _ := instance.FindReport(text)
	if _, err := s.EC2.StartInstances(ctx, &ec2.StartInstancesInput{InstanceIds: []string{id}}); err != nil {
		return last, fmt.Errorf("start %s: %w", id, err)
	}
	return report.Time, nil
}

// Latest is an instance as it is now. One that was launched a moment ago may not be known everywhere yet.
func Latest(ctx context.Context, s *stack.Stack, id string) (found stack.Instance, err error) {
	err = await.Until(ctx, await.Settle, func(ctx context.Context) (_ bool, err error) {
		found, err = s.Describe(ctx, id)
		return err == nil, err
	})
	return found, err
}
