package api

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host"
)

// refreshMetadata tells an instance's metadata service what the records say.
func (s *Server) refreshMetadata(ctx context.Context, id string) error {
	item, err := s.rawInstance(ctx, id)
	if err != nil {
		return err
	}
	record, _ := s.instance(id)
	i, err := interfaceOf(item)
	if err != nil {
		return err
	}
	private := i.PrivateIPs[0].String()
	m := host.Metadata{
		InstanceID: id, ImageID: item.get("imageId"), InstanceType: item.get("instanceType"), Region: Region, Zone: item.get("placement", "availabilityZone"),
		AccountID: Account, LocalIPv4: private, PublicIPv4: s.publicOf(id, record), MAC: i.MAC,
		LocalHostname:  "ip-" + strings.ReplaceAll(private, ".", "-") + ".ec2.internal",
		SecurityGroups: item.all("networkInterfaceSet", "*", "groupSet", "*", "groupName"),
		UserData:       record.UserData, KeyName: item.get("keyName"), PublicKey: record.PublicKey,
		TokensRequired: record.TokensRequired, Disabled: record.MetadataDisabled, Launched: record.Launched,
	}
	if record.MetadataTags {
		m.Tags = map[string]string{}
		for _, tag := range item.items("tagSet") {
			m.Tags[tag.get("key")] = tag.get("value")
		}
	}
	if arn := item.get("iamInstanceProfile", "arn"); arn != "" {
		if err := s.addRole(ctx, &m, arn); err != nil {
			return err
		}
	}
	s.machinery.SetMetadata(id, m)
	return nil
}

// credentialsLast is how long a role's temporary credentials do.
const credentialsLast = time.Hour

// addRole gives the metadata the role of an instance profile and a way to make credentials of it.
func (s *Server) addRole(ctx context.Context, m *host.Metadata, arn string) error {
	name := arn[strings.LastIndexByte(arn, '/')+1:]
	described, err := s.ask(ctx, newCall("iam", "GetInstanceProfile", "InstanceProfileName", name))
	if err != nil {
		return fmt.Errorf("read instance profile %s: %w", name, err)
	}
	profile := described.at("GetInstanceProfileResult", "InstanceProfile")
	m.ProfileARN, m.ProfileID = arn, profile.get("InstanceProfileId")
	roles := profile.items("Roles")
	if len(roles) == 0 {
		return nil
	}
	m.RoleName = roles[0].get("RoleName")
	m.Credentials = s.instanceCredentials(roles[0], m.InstanceID)
	return nil
}

// metadataOptions describes how an instance's metadata service may be used.
func metadataOptions(name string, record instanceRecord) *node {
	choose := func(condition bool, yes, no string) string {
		if condition {
			return yes
		}
		return no
	}
	return element(name, text("state", "applied"), text("httpTokens", choose(record.TokensRequired, "required", "optional")),
		text("httpPutResponseHopLimit", "1"), text("httpEndpoint", choose(record.MetadataDisabled, "disabled", "enabled")),
		text("httpProtocolIpv6", "disabled"), text("instanceMetadataTags", choose(record.MetadataTags, "enabled", "disabled")))
}

// modifyMetadataOptions is answered here alone: the server behind knows nothing of these options.
func (s *Server) modifyMetadataOptions(ctx context.Context, c *call) (*node, error) {
	id := c.get("InstanceId")
	if err := s.inStates([]string{id}, "modified", "pending", "running", "stopping", "stopped"); err != nil {
		return nil, err
	}
	err := s.changeInstance(id, func(record *instanceRecord) {
		for name, option := range map[string]struct {
			is  *bool
			set string
		}{
			"HttpTokens":           {&record.TokensRequired, "required"},
			"HttpEndpoint":         {&record.MetadataDisabled, "disabled"},
			"InstanceMetadataTags": {&record.MetadataTags, "enabled"},
		} {
			if value := c.get(name); value != "" {
				*option.is = value == option.set
			}
		}
	})
	if err != nil {
		return nil, err
	}
	if err := s.refreshMetadata(ctx, id); err != nil {
		return nil, err
	}
	record, _ := s.instance(id)
	return reply("ModifyInstanceMetadataOptions", text("instanceId", id), metadataOptions("instanceMetadataOptions", record)), nil
}
