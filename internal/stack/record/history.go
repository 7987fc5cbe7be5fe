package stack

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/plaintext"
)

// Results of a deployment.
const (
	Running     = "running"
	Done        = "done"
	RolledBack  = "rolled back"
	NeedsPerson = "needs a person"
	// Silent is told of a deployment that was killed; its record still says that it is running.
	Silent = "ended without a word"
)

// Record is what a deployment leaves on the stack.
type Record struct {
	ID      string    `json:"id"`
	Kind    string    `json:"kind"` // deploy or rollback
	Who     string    `json:"who"`  // user@host
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended,omitzero"`
	From    Images    `json:"from"`
	To      Images    `json:"to"`
	Result  string    `json:"result"`
	Reason  string    `json:"reason,omitempty"`
	Steps   []Step    `json:"steps"`
	// Interruption is how long the database took no writes, in milliseconds.
	Interruption int64  `json:"interruption_ms,omitempty"`
	Snapshot     string `json:"snapshot,omitempty"`
}

// Images are what the two tiers run.
type Images struct {
	Release  string `json:"release,omitempty"`
	Database string `json:"db,omitempty"`
	Web      string `json:"web,omitempty"`
}

// Step is one of a deployment's.
type Step struct {
	Name string `json:"name"`
	// At is when it began, in milliseconds after the deployment did; Took is how long it took.
	At     int64 `json:"at"`
	Took   int64 `json:"took"`
	Failed bool  `json:"failed,omitempty"`
}

// historyKept is how many records are kept.
const historyKept = 30

func (s *Stack) historyPath() string { return s.parameters() + "/history/" }

// History are the records of the stack, the youngest first.
func (s *Stack) History(ctx context.Context) ([]Record, error) {
	var all []Record
	for pages := ssm.NewGetParametersByPathPaginator(s.ssm, &ssm.GetParametersByPathInput{Path: aws.String(s.historyPath())}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("read the history of stack %s: %w", s.name, err)
		}
		for _, p := range page.Parameters {
			var r Record
			if err := json.Unmarshal([]byte(aws.ToString(p.Value)), &r); err != nil {
				return nil, fmt.Errorf("read %s: %w", aws.ToString(p.Name), err)
			}
			all = append(all, r.plain())
		}
	}
	slices.SortFunc(all, func(a, b Record) int { return strings.Compare(b.ID, a.ID) })
	return all, nil
}

// Told is the history as people should see it: a record that says that it is running while nobody is at it is of a
// deployment that ended without a word.
func (s *Stack) Told(ctx context.Context) ([]Record, error) {
	records, err := s.History(ctx)
	if err != nil || len(running(records)) == 0 {
		return records, err
	}
	now, locked, err := s.holder(ctx)
	if err != nil {
		return nil, err
	}
	before := running(records)
	if _, host := whoami(); locked && !now.dead(host) {
		delete(before, now.ID)
	}
	if len(before) == 0 {
		return records, nil
	}
	// One that has ended and given the lock back in between has written so.
	if records, err = s.History(ctx); err != nil {
		return nil, err
	}
	for i, r := range records {
		if r.Result == Running && before[r.ID] {
			records[i].Result, records[i].Reason = Silent, "goldsmith deploy --stack "+s.name+" puts it right"
		}
	}
	return records, nil
}

// running are the ids of the records that say that they are.
func running(records []Record) map[string]bool {
	ids := map[string]bool{}
	for _, r := range records {
		if r.Result == Running {
			ids[r.ID] = true
		}
	}
	return ids
}

// plain is the record in printable text: everybody who may deploy writes records, on any machine.
func (r Record) plain() Record {
	for _, text := range []*string{&r.ID, &r.Kind, &r.Who, &r.Result, &r.Snapshot, &r.From.Release, &r.From.Database, &r.From.Web, &r.To.Release, &r.To.Database, &r.To.Web} {
		*text = plaintext.Line(*text)
	}
	r.Reason = plaintext.Lines(r.Reason)
	for i, step := range r.Steps {
		r.Steps[i].Name = plaintext.Line(step.Name)
	}
	return r
}

// journal keeps a record up to date on the stack while the deployment goes on.
type journal struct {
	stack *Stack
	step  func(string) func(error)

	mu     sync.Mutex
	record Record
	wake   chan struct{}
	done   sync.WaitGroup
}

func (s *Stack) openJournal(ctx context.Context, r Record, step func(string) func(error)) (*journal, error) {
	j := &journal{stack: s, step: step, record: r, wake: make(chan struct{}, 1)}
	if err := s.writeRecord(ctx, r); err != nil {
		return nil, err
	}
	// Written beside the steps: the database is waiting during some of them.
	j.done.Go(func() {
		for range j.wake {
			j.mu.Lock()
			now := j.record
			now.Steps = slices.Clone(now.Steps)
			j.mu.Unlock()
			if err := s.writeRecord(context.WithoutCancel(ctx), now); err != nil {
				s.say("write the history: %v", err)
			}
		}
	})
	return j, nil
}

// timed runs a step and notes it.
func (j *journal) timed(name string, step func() error) error {
	started, done := time.Now(), func(error) {}
	if j.step != nil {
		done = j.step(name)
	}
	err := step()
	done(err)
	j.mu.Lock()
	j.record.Steps = append(j.record.Steps, Step{Name: name, At: started.Sub(j.record.Started).Milliseconds(), Took: time.Since(started).Milliseconds(), Failed: err != nil})
	j.mu.Unlock()
	select {
	case j.wake <- struct{}{}:
	default:
	}
	return err
}

func (j *journal) set(change func(*Record)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	change(&j.record)
}

// close writes the end of it.
func (j *journal) close(ctx context.Context, result string, reason error) error {
	close(j.wake)
	j.done.Wait()
	j.record.Ended, j.record.Result = time.Now().UTC(), result
	if reason != nil {
		j.record.Reason = shortened(plaintext.Lines(reason.Error()))
	}
	return j.stack.writeRecord(ctx, j.record)
}

// shortened keeps a reason small enough for a parameter.
func shortened(text string) string {
	const most = 600
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "..."
}

// writeRecord writes a record; a parameter holds 4096 characters, so that of too many steps the first are left out.
func (s *Stack) writeRecord(ctx context.Context, r Record) error {
	text, err := json.Marshal(r)
	for err == nil && len(text) > 4096 && len(r.Steps) > 0 {
		r.Steps = r.Steps[1:]
		text, err = json.Marshal(r)
	}
	if err != nil {
		return err
	}
	return s.putParameter(ctx, s.historyPath()+r.ID, string(text), types.ParameterTypeString)
}

// forgetHistory removes records beyond those that are kept.
func (s *Stack) forgetHistory(ctx context.Context) error {
	all, err := s.History(ctx)
	if err != nil || len(all) <= historyKept {
		return err
	}
	return s.deleteParameters(ctx, all[historyKept:])
}

func (s *Stack) deleteParameters(ctx context.Context, records []Record) error {
	for ; len(records) > 0; records = records[min(10, len(records)):] { // DeleteParameters takes ten at a time
		var names []string
		for _, r := range records[:min(10, len(records))] {
			names = append(names, s.historyPath()+r.ID)
		}
		if _, err := s.ssm.DeleteParameters(ctx, &ssm.DeleteParametersInput{Names: names}); err != nil {
			return fmt.Errorf("forget old records of stack %s: %w", s.name, err)
		}
	}
	return nil
}

// Before are the images to go back to: without a name those that ran before the last deployment that was good, else those
// that a deployment of this id or release led to.
func (s *Stack) Before(ctx context.Context, name string) (Images, error) {
	records, err := s.History(ctx)
	if err != nil {
		return Images{}, err
	}
	for _, r := range records {
		switch {
		case r.Result != Done:
		case name == "" && r.From.Database != "" && r.From.Web != "" && (r.From.Database != r.To.Database || r.From.Web != r.To.Web):
			return r.From, nil
		case name != "" && (r.ID == name || r.To.Release == name):
			return r.To, nil
		}
	}
	if name != "" {
		return Images{}, fmt.Errorf("roll stack %s back to %s: no good deployment of that name is in its history\nhint: goldsmith history --stack %s", s.name, name, s.name)
	}
	return Images{}, fmt.Errorf("roll stack %s back: its history has no deployment that changed an image", s.name)
}
