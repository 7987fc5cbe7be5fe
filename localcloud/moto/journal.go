package moto

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

// journal makes moto's memory last: each changing call that succeeded is a line, with the seed that
// moto's random numbers had. The same calls with the same seeds, one at a time, give the same ids.
type journal struct {
	path string

	mu      sync.Mutex
	file    *os.File
	size    int64 // of what is whole in the file
	entries []entry
	ledger  *ledger
	next    int // seed
	compact int // number of entries at which the journal is compacted
}

type entry struct {
	Seed    int            `json:"seed"`
	Call    *awsquery.Call `json:"call"`
	Named   []string       `json:"named,omitempty"`   // what the request is about
	Created []string       `json:"created,omitempty"` // what it made
	// Ended are the volumes that went with terminated instances; nil in a line of before they were noted: all of them.
	Ended []string `json:"ended"`
}

// callDeadline limits one call to moto.
const callDeadline = time.Minute

func openJournal(path string) (*journal, error) {
	j := &journal{path: path, next: 1}
	content, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for number, text := range bytes.Split(content, []byte("\n")) {
		if len(text) == 0 {
			continue
		}
		var e entry
		if err := json.Unmarshal(text, &e); err != nil {
			if !bytes.HasSuffix(content, text) {
				return nil, fmt.Errorf("read journal %s, line %d: %w", path, number+1, err)
			}
			break // a crash cut the last line off: its caller never got an answer
		}
		if err := e.Call.Parse(); err != nil {
			return nil, fmt.Errorf("read journal %s, line %d: %w", path, number+1, err)
		}
		j.entries = append(j.entries, e)
		j.next = max(j.next, e.Seed+1)
	}
	return j, j.rewrite(compact(j.entries))
}

// rewrite writes these entries into a new file, which takes the old one's place and is then appended to.
func (j *journal) rewrite(entries []entry) error {
	f, err := os.OpenFile(j.path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	var content bytes.Buffer
	encoder := json.NewEncoder(&content)
	for _, e := range entries {
		if err = encoder.Encode(e); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	_, err = f.Write(content.Bytes())
	if err = errors.Join(err, f.Sync(), os.Rename(j.path+".new", j.path), syncDir(filepath.Dir(j.path))); err != nil {
		return errors.Join(fmt.Errorf("write journal: %w", err), f.Close())
	}
	if j.file != nil {
		j.file.Close() // of the file that is replaced
	}
	j.file, j.size, j.entries, j.ledger = f, int64(content.Len()), entries, readLedger(entries)
	j.compact = 2*len(entries) + 200
	return nil
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func (j *journal) close() error { return j.file.Close() }

// do makes a changing call and remembers it before anybody learns of its answer. Once begun it is not cut off by a
// client that goes away: moto would know what the journal does not.
func (j *journal) do(ctx context.Context, m *Client, c *awsquery.Call) (*awsquery.Answer, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callDeadline)
	defer cancel()
	j.mu.Lock()
	defer j.mu.Unlock()
	e := entry{Seed: j.next, Call: c}
	j.next++
	a, err := seeded(ctx, m, e)
	if err != nil || !a.OK() {
		return a, err
	}
	c.Body = c.Encoded()
	e.Named = named(c)
	described, err := m.described(ctx, c, a.Body)
	if err != nil {
		return nil, err
	}
	e.Created = j.ledger.created(c, described)
	if e.Ended, err = m.volumesGone(ctx, j.ledger, c); err != nil {
		return nil, err
	}
	if err := j.append(e); err != nil {
		return nil, fmt.Errorf("write journal: %w", err)
	}
	if seeds, ok := ctx.Value(changesKey{}).(*[]int); ok {
		*seeds = append(*seeds, e.Seed)
	}
	if len(j.entries) >= j.compact {
		return a, j.rewrite(compact(j.entries))
	}
	return a, nil
}

// changesKey is the context key of the seeds of the entries that a user's call made.
type changesKey struct{}

// Collecting is a context in which what is noted can be taken back.
func Collecting(ctx context.Context) (context.Context, *[]int) {
	seeds := new([]int)
	return context.WithValue(ctx, changesKey{}, seeds), seeds
}

// TakeBack has moto and the journal forget the entries with these seeds. Moto cannot undo: it begins anew, and all
// others are replayed to it, while nobody asks it anything. stopped tells then which instances do not run: moto takes
// all that it makes again to be running. The caller lets nobody else change anything.
func (m *Client) TakeBack(ctx context.Context, seeds []int, stopped func() []string) error {
	if len(seeds) == 0 {
		return nil
	}
	return m.journal.withdraw(ctx, m, seeds, stopped)
}

func (j *journal) withdraw(ctx context.Context, m *Client, seeds []int, stopped func() []string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	m.gate.Lock()
	defer m.gate.Unlock()
	kept := slices.DeleteFunc(slices.Clone(j.entries), func(e entry) bool { return slices.Contains(seeds, e.Seed) })
	if err := j.rewrite(kept); err != nil {
		return err
	}
	reset := entry{Call: &awsquery.Call{Service: "moto-api", Method: "POST", Path: "/moto-api/reset"}}
	if _, err := seededAlone(ctx, m, reset); err != nil {
		return err
	}
	if _, err := j.replayAlone(ctx, m); err != nil { // what is refused stays in the journal: the next start decides
		return err
	}
	for _, id := range stopped() {
		a, err := m.exchange(ctx, awsquery.NewCall("ec2", "StopInstances", "InstanceId.1", id))
		if err == nil {
			_, err = a.XML()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// described joins the answer to a call with a description of what the call made, where the answer does not tell
// all of that: an image's snapshot, a VPC's own route table and groups.
func (m *Client) described(ctx context.Context, c *awsquery.Call, answered []byte) ([]byte, error) {
	root, err := awsquery.ParseXML(answered)
	if err != nil {
		return answered, nil // not the query protocol
	}
	var questions []*awsquery.Call
	switch c.Action() {
	case "CreateImage":
		questions = []*awsquery.Call{awsquery.NewCall("ec2", "DescribeImages", "ImageId.1", root.Get("imageId"))}
	case "CreateVpc":
		for _, action := range []string{"DescribeRouteTables", "DescribeSecurityGroups", "DescribeNetworkAcls"} {
			questions = append(questions, awsquery.NewCall("ec2", action, "Filter.1.Name", "vpc-id",
				"Filter.1.Value.1", root.Get("vpc", "vpcId")))
		}
	}
	all := slices.Clone(answered)
	for _, question := range questions {
		a, err := m.Read(ctx, question)
		if err != nil {
			return nil, err
		}
		all = append(all, a.Body...)
	}
	return all, nil
}

// volumesGone are the volumes that a TerminateInstances call has deleted, of those that came with the instances.
func (m *Client) volumesGone(ctx context.Context, l *ledger, c *awsquery.Call) ([]string, error) {
	if c.Action() != "TerminateInstances" {
		return nil, nil
	}
	came := []string{}
	for _, id := range named(c) {
		came = append(came, l.volumesOf(id)...)
	}
	if len(came) == 0 {
		return came, nil
	}
	described, err := m.Ask(ctx, awsquery.NewCall("ec2", "DescribeVolumes"))
	if err != nil {
		return nil, err
	}
	there := described.All("volumeSet", "*", "volumeId")
	return slices.DeleteFunc(came, func(id string) bool { return slices.Contains(there, id) }), nil
}

// append adds a line. What could not be written as a whole is taken back, or the next line would be lost with it.
func (j *journal) append(e entry) error {
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	text = append(text, '\n')
	_, err = j.file.WriteAt(text, j.size)
	if err = errors.Join(err, j.file.Sync()); err != nil {
		return errors.Join(err, j.file.Truncate(j.size))
	}
	j.size += int64(len(text))
	j.entries = append(j.entries, e)
	j.ledger.add(len(j.entries)-1, e)
	return nil
}

// seeded makes a call with the server's random numbers set, and nothing beside it.
func seeded(ctx context.Context, m *Client, e entry) (*awsquery.Answer, error) {
	m.gate.Lock()
	defer m.gate.Unlock()
	return seededAlone(ctx, m, e)
}

// seededAlone is seeded for who holds s.gate.
func seededAlone(ctx context.Context, m *Client, e entry) (*awsquery.Answer, error) {
	seed := &awsquery.Call{Service: "moto-api", Method: "POST", Path: fmt.Sprintf("/moto-api/seed?a=%d", e.Seed)}
	if _, err := m.exchange(ctx, seed); err != nil {
		return nil, err
	}
	return m.exchange(ctx, e.Call)
}

// replay brings a fresh moto to where the journal ends. A call that it does not accept any more is left out and
// told: a cloud that does not start for one line would take everything with it.
func (j *journal) replay(ctx context.Context, m *Client) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	m.gate.Lock()
	defer m.gate.Unlock()
	kept, err := j.replayAlone(ctx, m)
	if err != nil || len(kept) == len(j.entries) {
		return err
	}
	return j.rewrite(kept)
}

// replayAlone makes the calls of the journal again, for who holds its lock and s.gate, and returns those that are
// accepted. What moto made by itself at its first call, the default VPC, is the same each time too.
func (j *journal) replayAlone(ctx context.Context, m *Client) (kept []entry, err error) {
	if _, err := seededAlone(ctx, m, entry{Call: awsquery.NewCall("ec2", "DescribeVpcs")}); err != nil {
		return nil, err
	}
	for _, e := range j.entries {
		a, err := seededAlone(ctx, m, e)
		var refused *awsquery.Error
		switch {
		case err != nil && !errors.As(err, &refused):
			return nil, fmt.Errorf("replay %s: %w", e.Call, err)
		case err != nil || !a.OK():
			m.log.Error("moto does not accept a call of its past; it is left out", "call", e.Call.String(), "named",
				e.Named, "error", err)
			continue
		}
		if id := slices.IndexFunc(e.Created,
			func(name string) bool { return awsquery.IsResourceID(name) && e.lasts(name) }); id >= 0 &&
			!bytes.Contains(a.Body, []byte(e.Created[id])) {
			m.log.Error("moto gives another id than before", "call", e.Call.String(), "before", e.Created[id])
		}
		kept = append(kept, e)
	}
	return kept, nil
}
