// Package manners makes the local cloud as unkind as EC2, where that is wanted: what was just made is not known to each
// call, tags are late, what IAM made is late at EC2, what is done is seen when it would be done there, and an account
// may neither ask as often nor have as much as it likes. It stands between the endpoint, which knows who calls, and
// what carries a call out, and changes neither.
//
// The numbers, what they are on EC2 and where they are from are in docs/local-cloud.md.
//
// Limits: what takes its time is done at once all the same, and only seen late: who knows the address of an instance
// that is shown as pending reaches it. Manners are kept in memory only; a cloud that comes up has nothing that is new.
// Calls of the local cloud's own, those of its Auto Scaling groups for example, are carried out without them.
// A DescribeTags by pages, or by a filter of the form tag:KEY, is never late.
package manners

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

// Carry carries out a call.
type Carry func(context.Context, *awsquery.Call) (*awsquery.Answer, error)

// Manners are those of one cloud. The zero value, and nil, has none.
type Manners struct {
	current atomic.Pointer[conduct]
}

// Set switches to a setting. What was new or late before is not so any more.
func (m *Manners) Set(s Setting) {
	if !s.EC2 {
		m.current.Store(nil)
		return
	}
	m.current.Store(newConduct(s))
}

// Setting is the setting of the last Set.
func (m *Manners) Setting() Setting {
	if c := m.current.Load(); c != nil {
		return c.setting
	}
	return Setting{}
}

// Answer answers a call: carry does what it is told, and what the manners make of it is returned.
func (m *Manners) Answer(ctx context.Context, c *awsquery.Call, carry Carry) (*awsquery.Answer, error) {
	if m == nil {
		return carry(ctx, c)
	}
	d := m.current.Load()
	if d == nil {
		return carry(ctx, c)
	}
	return d.answer(ctx, c, carry)
}

// Quota is the account's quota of a code of Service Quotas. Without manners there is none: as much is had as the
// machine has.
func (m *Manners) Quota(code string) (value int, ok bool) {
	if m == nil || m.current.Load() == nil {
		return 0, false
	}
	value, ok = quotas[code]
	return value, ok
}

// TargetTakes is how long a load balancer takes with a target before it may find it healthy.
func (m *Manners) TargetTakes(target string) time.Duration {
	return m.takes("target", "target", target)
}

// RefreshTakes is how long an instance refresh waits until it believes that a group's new instances are healthy.
func (m *Manners) RefreshTakes(group string) time.Duration { return m.takes("refresh", "group", group) }

func (m *Manners) takes(what, kind, id string) time.Duration {
	if m == nil {
		return 0
	}
	d := m.current.Load()
	if d == nil {
		return 0
	}
	return d.times.takes(what, kind, id)
}

// PolicyTakes is how long some calls do not see that the rights of a user or role changed.
func (m *Manners) PolicyTakes(principal string) time.Duration {
	if m == nil {
		return 0
	}
	d := m.current.Load()
	if d == nil {
		return 0
	}
	return d.late.lag(policyOf(principal))
}

// PolicyMissed draws whether a call does not see it.
func (m *Manners) PolicyMissed(principal string) bool {
	if m == nil {
		return false
	}
	d := m.current.Load()
	return d != nil && d.late.draws.number("sight", "policy", policyOf(principal)) < missed
}

// policyOf is the name by which numbers for a user's or role's rights are drawn.
func policyOf(principal string) string { return "policy:" + principal }

// conduct is the behaviour under one setting.
type conduct struct {
	setting Setting
	late    *lateness
	times   *times
	limits  *limits
}

func newConduct(s Setting) *conduct {
	d := newDraws(s.Seed)
	late := newLateness(d)
	return &conduct{
		setting: s,
		late:    late,
		times:   newTimes(d, s.Time, late.sighted),
		limits:  newLimits(d, s.Time),
	}
}

func (d *conduct) answer(ctx context.Context, c *awsquery.Call, carry Carry) (*awsquery.Answer, error) {
	if err := d.admit(ctx, c, carry); err != nil {
		return nil, err
	}
	if c.Service == "ec2" && c.Action() == "DescribeTags" {
		return d.late.describeTags(ctx, c, carry)
	}
	if q, ok := descriptions[c.Action()]; ok && c.Service == q.service() {
		return d.describe(ctx, c, q, carry)
	}
	before, err := d.late.before(ctx, c, carry)
	if err != nil {
		return nil, err
	}
	if err = admitTags(c, before); err != nil {
		return nil, err
	}
	earlier := d.times.before(ctx, c, carry)
	a, err := carry(ctx, c)
	if err != nil || !a.OK() {
		return a, err
	}
	d.late.note(c, a, before)
	d.times.note(ctx, c, a, earlier, carry)
	if a, err = d.late.showGroupTags(c, a); err != nil {
		return nil, err
	}
	return d.times.after(ctx, c, a, carry)
}

// admit refuses what is one call too many, names what is not known yet, cannot be done yet, or is too much.
func (d *conduct) admit(ctx context.Context, c *awsquery.Call, carry Carry) error {
	if err := d.limits.throttle(c); err != nil {
		return err
	}
	if err := d.late.admit(c); err != nil {
		return err
	}
	if err := d.times.admit(ctx, c, carry); err != nil {
		return err
	}
	return d.limits.admit(ctx, c, carry)
}

// describe answers a call that describes things. What the manners change is changed before filters look at it.
func (d *conduct) describe(
	ctx context.Context,
	c *awsquery.Call,
	q description,
	carry Carry,
) (*awsquery.Answer, error) {
	rest, filters, err := q.takeFilters(c)
	if err != nil {
		return nil, err
	}
	a, err := carry(ctx, rest)
	if err != nil || !a.OK() {
		return a, err
	}
	root, err := awsquery.ParseXML(a.Body)
	if err != nil {
		return nil, err
	}
	named := q.names(c)
	q.keep(root, func(item *awsquery.Node) (*awsquery.Node, bool) {
		id := q.kind + item.Get(q.id)
		if !named && d.late.unknown(id) {
			return nil, false
		}
		item = d.times.look(c.Action(), item, id)
		d.late.showTags(item, id)
		return item, filters.Pass(item)
	})
	return d.times.after(ctx, c, &awsquery.Answer{Status: a.Status, Header: a.Header, Body: root.Bytes()}, carry)
}
