package metadata

import (
	"context"
	"fmt"
	"strings"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/eni"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/imds"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/identity"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/records"
)

// Service tells the metadata services of instances what the records say.
type Service struct {
	moto      *moto.Client
	records   *records.Store
	keys      *identity.Keys
	machinery Machinery
}

// Machinery runs the metadata services.
type Machinery interface {
	SetMetadata(instance string, metadata imds.Metadata)
}

// New makes the one of a cloud.
func New(moto *moto.Client, records *records.Store, keys *identity.Keys, machinery Machinery) *Service {
	return &Service{
		moto:      moto,
		records:   records,
		keys:      keys,
		machinery: machinery,
	}
}

// Refresh tells an instance's metadata service what the records say.
func (s *Service) Refresh(ctx context.Context, id string) error {
	item, err := s.moto.Instance(ctx, id)
	if err != nil {
		return err
	}
	record, _ := s.records.Instance(id)
	i, err := eni.InterfaceOf(item)
	if err != nil {
		return err
	}
	private := i.PrivateIPs[0].String()
	m := imds.Metadata{
		InstanceID:     id,
		ImageID:        item.Get("imageId"),
		InstanceType:   item.Get("instanceType"),
		Architecture:   item.Get("architecture"),
		Region:         awsquery.Region,
		Zone:           item.Get("placement", "availabilityZone"),
		AccountID:      awsquery.Account,
		LocalIPv4:      private,
		PublicIPv4:     s.records.PublicOf(id, record),
		MAC:            i.MAC,
		LocalHostname:  "ip-" + strings.ReplaceAll(private, ".", "-") + ".ec2.internal",
		SecurityGroups: item.All("networkInterfaceSet", "*", "groupSet", "*", "groupName"),
		UserData:       record.UserData,
		KeyName:        item.Get("keyName"),
		PublicKey:      record.PublicKey,
		TokensRequired: record.TokensRequired,
		Disabled:       record.MetadataDisabled,
		Launched:       record.Launched,
	}
	if record.MetadataTags {
		m.Tags = map[string]string{}
		for _, tag := range item.Items("tagSet") {
			m.Tags[tag.Get("key")] = tag.Get("value")
		}
	}
	if arn := item.Get("iamInstanceProfile", "arn"); arn != "" {
		if err := s.addRole(ctx, &m, arn); err != nil {
			return err
		}
	}
	s.machinery.SetMetadata(id, m)
	return nil
}

// addRole gives the metadata the role of an instance profile and a way to make credentials of it.
func (s *Service) addRole(ctx context.Context, m *imds.Metadata, arn string) error {
	name := arn[strings.LastIndexByte(arn, '/')+1:]
	described, err := s.moto.Ask(ctx, awsquery.NewCall("iam", "GetInstanceProfile", "InstanceProfileName", name))
	if err != nil {
		return fmt.Errorf("read instance profile %s: %w", name, err)
	}
	profile := described.At("GetInstanceProfileResult", "InstanceProfile")
	m.ProfileARN, m.ProfileID = arn, profile.Get("InstanceProfileId")
	roles := profile.Items("Roles")
	if len(roles) == 0 {
		return nil
	}
	m.RoleName = roles[0].Get("RoleName")
	m.Credentials = s.keys.ForInstance(roles[0], m.InstanceID)
	return nil
}
