package ec2ops

import (
	"context"
	"encoding/json"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go/middleware"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
)

// AwaitNew has a client take NotFound for "not yet" where a call names something that the same client made a moment
// ago: EC2's servers do not all know at once what one of them made. Such a call is made again, until Settle is over,
// also one that deletes it: it would stay. What was deleted is not waited for any more.
func AwaitNew(o *ec2.Options) {
	known := &made{at: map[string]time.Time{}}
	o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("AwaitNew", known.handle), middleware.Before)
	})
}

// made are the ids of what a client made, and when.
type made struct {
	mu sync.Mutex
	at map[string]time.Time
}

func (m *made) handle(
	ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler,
) (out middleware.InitializeOutput, metadata middleware.Metadata, err error) {
	call, age := middleware.GetOperationName(ctx), await.Settle
	if ends(call) {
		age = endAge
		defer m.forget(idsIn(in.Parameters))
	}
	for pause := minDelay; ; pause = min(pause*3/2, maxDelay) {
		out, metadata, err = next.HandleInitialize(ctx, in)
		if err == nil && makes(call) {
			m.note(call, idsIn(out.Result), idsIn(in.Parameters))
		}
		if !awserr.NotFound(err) || byName(err) || !m.isNew(idsIn(in.Parameters), age) ||
			await.Sleep(ctx, pause) != nil {
			return out, metadata, err
		}
	}
}

// byName tells whether NotFound is of what a call asks for by a name, which is not among the ids that are new: a launch
// template, of which a first version is made once EC2 says that there is none.
func byName(err error) bool {
	return awserr.Is(err, apierror.InvalidLaunchTemplateNameNotFound)
}

// endAge is the age of a resource up to which NotFound from a call that deletes it is retried. It is short: NotFound
// may also mean that it was deleted, and the answer lost.
const endAge = 30 * time.Second

func makes(call string) bool {
	return begins(call, "Create", "Run", "Allocate", "Register", "Copy", "Import")
}

func ends(call string) bool {
	return begins(call, "Delete", "Release", "Terminate", "Deregister", "Detach", "Disassociate")
}

func begins(call string, prefixes ...string) bool {
	for _, prefix := range prefixes {
		if strings.HasPrefix(call, prefix) {
			return true
		}
	}
	return false
}

// resourceID is an id, or a key pair, which calls know by its name.
var resourceID = regexp.MustCompile(`\b[a-z]+-[0-9a-f]{8,17}\b|"KeyName":"[^"]+"`)

// idsIn are the ids of resources in an input or an output of the SDK, and the key pairs.
func idsIn(value any) []string {
	text, err := json.Marshal(value)
	if err != nil {
		return nil
	}
	return resourceID.FindAllString(string(text), -1)
}

// note notes what an answer names beside what it was asked with. A key pair is asked for with the name that it gets.
func (m *made) note(call string, answered, asked []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	named := map[string]bool{}
	for _, id := range asked {
		named[id] = !strings.HasSuffix(call, "KeyPair")
	}
	for _, id := range answered {
		if !named[id] {
			m.at[id] = time.Now()
		}
	}
}

func (m *made) forget(ids []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		delete(m.at, id)
	}
}

func (m *made) isNew(ids []string, age time.Duration) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		if at, ok := m.at[id]; ok && time.Since(at) < age {
			return true
		}
	}
	return false
}
