package record

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/plaintext"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/parameters"
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

// Record is a deployment's entry in the stack's history.
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

// Images are the image ids of the tiers. In JSON they are members of one object, named for their tiers, beside the
// release.
type Images struct {
	Release string
	Tiers   map[string]string // by tier
}

const releaseMember = "release"

// MarshalJSON leaves out what is empty.
func (i Images) MarshalJSON() ([]byte, error) {
	members := maps.Clone(i.Tiers)
	if members == nil {
		members = map[string]string{}
	}
	members[releaseMember] = i.Release
	maps.DeleteFunc(members, func(_, value string) bool { return value == "" })
	return json.Marshal(members)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (i *Images) UnmarshalJSON(text []byte) error {
	var members map[string]string
	if err := json.Unmarshal(text, &members); err != nil {
		return err
	}
	i.Release = members[releaseMember]
	delete(members, releaseMember)
	i.Tiers = members
	return nil
}

// Same tells whether the tiers run the same images.
func (i Images) Same(other Images) bool { return maps.Equal(i.Tiers, other.Tiers) }

// Complete tells whether each of some tiers has an image.
func (i Images) Complete(tiers []stack.Tier) bool {
	return !slices.ContainsFunc(tiers, func(t stack.Tier) bool { return i.Tiers[t.Name] == "" })
}

func (i Images) plain() Images {
	tiers := map[string]string{}
	for tier, image := range i.Tiers {
		tiers[plaintext.Line(tier)] = plaintext.Line(image)
	}
	return Images{Release: plaintext.Line(i.Release), Tiers: tiers}
}

// Step is one of a deployment's.
type Step struct {
	// ID is that of the kind of step, as plan.Step has it; records of older versions have none.
	ID string `json:"id,omitempty"`
	// Name is for people.
	Name string `json:"name"`
	// Tier is the tier that it was about; empty where it was about the stack.
	Tier string `json:"tier,omitempty"`
	// At is when it began, in milliseconds after the deployment did; Took is how long it took.
	At     int64 `json:"at"`
	Took   int64 `json:"took"`
	Failed bool  `json:"failed,omitempty"`
}

// historyKept is the number of records that are kept.
const historyKept = 30

func historyPath(s *stack.Stack) string { return s.ParameterPath() + "/history/" }

// History are the records of the stack as they were written, the youngest first.
func History(ctx context.Context, s *stack.Stack) ([]Record, error) {
	found, err := parameters.Below(ctx, s.SSM, historyPath(s))
	if err != nil {
		return nil, fmt.Errorf("read the history of stack %s: %w", s.Name, err)
	}
	var all []Record
	for _, p := range found {
		var r Record
		if err := json.Unmarshal([]byte(aws.ToString(p.Value)), &r); err != nil {
			return nil, fmt.Errorf("read %s: %w", aws.ToString(p.Name), err)
		}
		all = append(all, r.plain())
	}
	slices.SortFunc(all, func(a, b Record) int { return strings.Compare(b.ID, a.ID) })
	return all, nil
}

// Told is the history as people should see it: a record that says that it is running while nobody is at it is of a
// deployment that ended without a word.
func Told(ctx context.Context, s *stack.Stack) ([]Record, error) {
	records, err := History(ctx, s)
	if err != nil || len(running(records)) == 0 {
		return records, err
	}
	now, active, err := ActiveHolder(ctx, s)
	if err != nil {
		return nil, err
	}
	before := running(records)
	if active {
		delete(before, now.ID)
	}
	if len(before) == 0 {
		return records, nil
	}
	// One that has ended and given the lock back in between has written so.
	if records, err = History(ctx, s); err != nil {
		return nil, err
	}
	for i, r := range records {
		if r.Result == Running && before[r.ID] {
			records[i].Result, records[i].Reason = Silent, "goldsmith deploy --stack "+s.Name+" puts it right"
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
	for _, text := range []*string{&r.ID, &r.Kind, &r.Who, &r.Result, &r.Snapshot} {
		*text = plaintext.Line(*text)
	}
	r.From, r.To, r.Reason = r.From.plain(), r.To.plain(), plaintext.Lines(r.Reason)
	for i, step := range r.Steps {
		r.Steps[i].Name, r.Steps[i].Tier = plaintext.Line(step.Name), plaintext.Line(step.Tier)
	}
	return r
}

// Write writes a record. Of more steps than a parameter holds the first are left out.
func Write(ctx context.Context, s *stack.Stack, r Record) error {
	text, err := json.Marshal(r)
	for err == nil && len(text) > parameters.Limit && len(r.Steps) > 0 {
		r.Steps = r.Steps[1:]
		text, err = json.Marshal(r)
	}
	if err != nil {
		return err
	}
	return parameters.Put(ctx, s, historyPath(s)+r.ID, string(text), types.ParameterTypeString)
}

// Prune removes records beyond those that are kept.
func Prune(ctx context.Context, s *stack.Stack) error {
	all, err := History(ctx, s)
	if err != nil || len(all) <= historyKept {
		return err
	}
	return deleteRecords(ctx, s, all[historyKept:])
}

// Remove removes all records of the stack.
func Remove(ctx context.Context, s *stack.Stack) error {
	all, err := History(ctx, s)
	if err != nil {
		return err
	}
	return deleteRecords(ctx, s, all)
}

func deleteRecords(ctx context.Context, s *stack.Stack, records []Record) error {
	var names []string
	for _, r := range records {
		names = append(names, historyPath(s)+r.ID)
	}
	if err := parameters.DeleteAll(ctx, s, names); err != nil {
		return fmt.Errorf("forget old records of stack %s: %w", s.Name, err)
	}
	return nil
}

// Before are the images to go back to: without a name those that ran before the last deployment that was good, else
// those that a deployment of this id or release led to.
func Before(ctx context.Context, s *stack.Stack, name string) (Images, error) {
	records, err := History(ctx, s)
	if err != nil {
		return Images{}, err
	}
	for _, r := range records {
		switch {
		case r.Result != Done:
		case name == "" && r.From.Complete(s.Tiers) && !r.From.Same(r.To):
			return r.From, nil
		case name != "" && (r.ID == name || r.To.Release == name):
			return r.To, nil
		}
	}
	if name != "" {
		return Images{}, fmt.Errorf("roll stack %s back to %s: no good deployment of that name is in its history\n"+
			"hint: goldsmith history --stack %s", s.Name, name, s.Name)
	}
	return Images{}, fmt.Errorf("roll stack %s back: its history has no deployment that changed an image\n"+
		"hint: goldsmith history --stack %[1]s shows what ran; --to takes one of its releases",
		s.Name)
}
