package tier

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/launch"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/network"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/plan"
)

// Decision says whether a tier's instance is kept or replaced, and with which launch.
type Decision struct {
	Old     stack.Instance // empty where nothing serves
	Replace bool
	// Reason says why it is replaced, for people.
	Reason string
	Launch launch.Launch
	// Settings is a digest of what the tier's instances are told at launch.
	Settings string
}

// Decide decides whether an instance is replaced by one that is launched so. The tier, its image and its type are
// filled in.
func (r *Run) Decide(t stack.Tier, old stack.Instance, l launch.Launch) (Decision, error) {
	l.Tier, l.Image, l.InstanceType = t, r.Images[t.Name], t.InstanceType
	userData, err := l.UserData(r.Stack)
	if err != nil {
		return Decision{}, err
	}
	digest := sha256.Sum256(userData)
	d := Decision{Old: old, Launch: l, Settings: hex.EncodeToString(digest[:8])}
	d.Reason = r.replaceReason(t, d)
	d.Replace = d.Reason != ""
	// What it needs may have to be launched and filled first. Another deadline is no reason to replace an instance: it
	// is not in the digest.
	if t.Kind == stack.ServiceTier {
		d.Launch.Deadline = t.Service.Probe.Deadline
	}
	return d, nil
}

// replaceReason is the reason why a tier's instance cannot stay; empty if it can.
func (r *Run) replaceReason(t stack.Tier, d Decision) string {
	old := d.Old
	is := old.Detail
	inSubnet := func(subnet network.Subnet) bool { return subnet.ID == is.Subnet }
	switch {
	case old.ID == "":
		return "nothing serves"
	case old.Image != d.Launch.Image:
		return fmt.Sprintf("its image is %s and not %s", old.Image, d.Launch.Image)
	case slices.Contains(r.Replace, t.Name) || slices.Contains(r.Replace, "all"):
		return "it is asked for"
	case is.Type != "" && is.Type != d.Launch.InstanceType:
		return fmt.Sprintf("its type is %s and not %s", is.Type, d.Launch.InstanceType)
	case is.Subnet != "" && !slices.ContainsFunc(r.Network.Subnets[t.Subnet], inSubnet):
		return fmt.Sprintf("it is in %s, which is no %s subnet of the stack", is.Subnet, t.Subnet)
	case is.Settings != "" && is.Settings != d.Settings:
		return "its user-data differs from what the stack file leads to"
	}
	return ""
}

// Change is the plan's entry for the launch of an instance, or for the replacement of one.
func (d Decision) Change() plan.Change {
	c := plan.Change{
		Action: plan.Create,
		What:   fmt.Sprintf("%s instance of %s", d.Launch.Tier.Name, d.Launch.Image),
		Reason: d.Reason,
	}
	if d.Old.ID != "" {
		c.Action, c.ID = plan.Replace, d.Old.ID
	}
	return c
}
