package stack

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
)

// wants is what a deployment is to lead to. What is yet to be made is empty.
type wants struct {
	images map[string]string // by tier
	// volume is the data volume, and zone where it is.
	volume, zone string
	// address is the elastic one of the web tier.
	address string
}

// change is what happens to a tier.
type change struct {
	tier, image string
	old         Instance // empty where nothing serves
	replace     bool
	// reason is why, for people.
	reason string
	launch launch
	// settings is a digest of what the tier's instances are told at launch.
	settings string
}

// tierChanges is what has to happen to each tier. asked are tiers that are to be replaced in any case.
func (s *Stack) tierChanges(n Network, w wants, old map[string]Instance, asked []string) (map[string]change, error) {
	clients, err := s.clients(n)
	if err != nil {
		return nil, err
	}
	private, err := s.subnetOf(n, "db", w.zone)
	if err != nil {
		return nil, err
	}
	service, err := s.serviceAddress(private)
	if err != nil {
		return nil, err
	}
	if is := old["db"].service; is != "" && is != service {
		return nil, fmt.Errorf("service_address: the database of stack %s is found at %s, and the stack file wants %s; it cannot be changed while the web tier uses it\nhint: write %s into the stack file, or make the stack anew after goldsmith destroy", s.name, is, service, is)
	}
	public, err := s.subnetOf(n, "web", "")
	if err != nil {
		return nil, err
	}
	changes := map[string]change{}
	for tier, l := range map[string]launch{"db": {subnet: private, clients: clients, service: service, volume: w.volume}, "web": {subnet: public, service: w.address, database: service}} {
		l.tier, l.image, l.instanceType, l.more = tier, w.images[tier], s.tier(tier).InstanceType, s.tier(tier).UserData
		userData, err := s.userData(l)
		if err != nil {
			return nil, err
		}
		digest := sha256.Sum256(userData)
		c := change{tier: tier, image: l.image, old: old[tier], launch: l, settings: hex.EncodeToString(digest[:8])}
		c.reason = s.replaceReason(n, c, slices.Contains(asked, tier) || slices.Contains(asked, "all"))
		c.replace = c.reason != ""
		changes[tier] = c
	}
	return changes, nil
}

// replaceReason is why a tier's instance cannot stay, or empty.
func (s *Stack) replaceReason(n Network, c change, asked bool) string {
	old := c.old
	in := func(subnet Subnet) bool { return subnet.ID == old.subnet }
	switch {
	case old.ID == "":
		return "nothing serves"
	case old.Image != c.image:
		return fmt.Sprintf("its image is %s and not %s", old.Image, c.image)
	case asked:
		return "it is asked for"
	case old.kind != "" && old.kind != c.launch.instanceType:
		return fmt.Sprintf("its type is %s and not %s", old.kind, c.launch.instanceType)
	case old.subnet != "" && !slices.ContainsFunc(n.Subnets[s.tier(c.tier).Subnet], in):
		return fmt.Sprintf("it is in %s, which is no %s subnet of the stack", old.subnet, s.tier(c.tier).Subnet)
	case old.settings != "" && old.settings != c.settings:
		return "its user-data differs from what the stack file leads to"
	}
	return ""
}

// moreTags are the stack file's own tags of a tier, as keys and values in turn.
func (s *Stack) moreTags(tier string) []string {
	var pairs []string
	tags := s.tier(tier).Tags
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		pairs = append(pairs, key, tags[key])
	}
	return pairs
}
